"""How libraries are loaded: a worker imports some 4,000 modules before its first step.

And Python without its search for garbage, which memory that is watched must not be left to either.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Within it Python looks for no garbage: that takes a seventh of the time of imports."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def loading() -> Iterator[None]:
    """Within it a process imports what it needs for all its life; once a process.

    Python looks for no garbage meanwhile, nor in what was loaded afterwards: some million objects,
    each of which it would look at three times before it leaves them alone.
    """
    with without_garbage_collection():
        yield
    if gc.get_freeze_count() == 0:
        gc.freeze()
        atexit.register(gc.unfreeze)  # libraries that count what they have freed at the end


@contextmanager
def hidden(module: str) -> Iterator[None]:
    """Within it ``module`` cannot be imported, for libraries that only try; loaded, it stays so."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # as Python's reference has it: "import"
    try:
        yield
    finally:
        del sys.modules[module]
