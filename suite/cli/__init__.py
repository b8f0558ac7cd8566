"""The command line: ``dskd-bench``, or ``python -m suite.cli``."""

from suite.cli.app import main
from suite.ending import QuickExit

__all__ = ["main", "process"]


def process() -> None:
    """:func:`main` in a process of its own, which ends when that does."""
    end = QuickExit()
    try:
        main()
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            end.allow(left.code or 0)
        raise
