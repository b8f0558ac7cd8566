"""The processes that write a large site; a small one is written where it is asked for."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any

from analysis.report.drawing import one_thread

FEW_RUNS = 200
"""So many runs in one or two pairs are written before the first process has started."""
FEW_PAIRS = 2


class Here(Executor):
    """Does at once what it is given, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The result of ``fn``, which was waited for; its exceptions are raised here."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def workers(runs: int, pairs: int) -> Executor:
    """A process for every core, or :class:`Here`."""
    cores = os.cpu_count() or 1
    if cores < 2 or (runs <= FEW_RUNS and pairs <= FEW_PAIRS):
        return Here()
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(cores, mp_context=context, initializer=one_thread)
