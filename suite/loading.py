"""How libraries are loaded: a worker imports some 4,000 modules before its first step.

And Python without its search for garbage, which memory that is watched must not be left to either.
"""

from __future__ import annotations

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
