"""``python -m suite.cli``."""

from suite.cli import process

if __name__ == "__main__":
    process()
