"""The command line: ``dskd-bench``, or ``python -m suite.cli``."""

from suite.cli.app import main

__all__ = ["main"]
