"""Work in calls instead of seconds: the same on every machine, however busy."""

import sys
from contextlib import contextmanager


class TooManyCalls(AssertionError):
    """More was done than the block may do."""


@contextmanager
def at_most(most):
    """Ends the block with :class:`TooManyCalls` at the first call of a function above ``most``.

    Calls of Python's functions and of those written in C; a loop without calls is not seen.
    """
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")
        if calls > most:
            raise TooManyCalls(f"more than {most:,} calls")

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)
