"""How a process ends: at once, when its work is done."""

from __future__ import annotations

import atexit
import os
import sys


class QuickExit:
    """Ends a process that has done its work without taking its modules apart.

    Python frees every object of torch, timm and the others one by one as it ends, which costs
    1.2 s of CPU (docs/speed.md, "Start"); the system takes all memory back anyway. Make it first of
    all: what is registered for the end of the process after it (child processes, temporary files)
    runs before it.
    """

    def __init__(self) -> None:
        self._status: int | None = None
        atexit.register(self._leave)

    def allow(self, status: int = 0) -> None:
        """Nothing is left to do; the process is to end with this status."""
        self._status = status

    def _leave(self) -> None:
        """After an exception that nobody caught, Python ends as it always does."""
        if self._status is None or getattr(sys, "last_value", None) is not None:
            return
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(self._status)
