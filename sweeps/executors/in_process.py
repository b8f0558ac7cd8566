"""No worker at all: the launcher's own process trains, and updates its view in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from suite.config import Runtime
from sweeps.executors.base import Workers
from sweeps.executors.local import Local
from sweeps.workers.source import Work
from sweeps.workers.worker import Worker, uploading

LOOK_SECONDS = 0.5  # between looks while a run trains
PAUSE_SECONDS = 0.05  # while nothing can


class InProcess(Local):
    """On this machine, a group of runs at a time."""

    def parallel(self) -> int:
        """One group of runs."""
        return 1

    def start(self, work: Work, look: Callable[[], object]) -> Workers:
        """Trains in ``attend``."""
        return _InThisProcess(work, self.runtime, look)


class _InThisProcess:
    started, farewell = "", "stopped; the same command goes on from the last checkpoints"

    def __init__(self, work: Work, runtime: Runtime, look: Callable[[], object]) -> None:
        from suite.train.run import run_packed

        self._open = ExitStack()
        announce = self._open.enter_context(uploading(runtime))
        self._source = work.open(runtime, None)
        self._worker = Worker(self._source, runtime, _LookAround(look), run_packed, announce)
        self._left = False

    def attend(self) -> None:
        if not self._worker.train_first(self._source.ready(0.0) or ()):
            time.sleep(PAUSE_SECONDS)

    def done(self) -> bool:
        return self._left or self._source.ready(0.0) is None

    def close(self) -> None:
        self._open.close()
        self._left = True

    stop = cancel = close

    def outcomes(self) -> Mapping[str, str]:
        return {}


class _LookAround:
    """A ``should_stop`` that never stops and calls ``look`` every half second."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look, self._looked = look, time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
            self._looked = time.monotonic()
        return False
