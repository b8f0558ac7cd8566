"""A worker of a search: trains what lies in the queue until the driver closes it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.store.claims import holder
from suite.store.states import State, state_of
from sweeps.search.queue import Queue
from sweeps.workers.worker import Announce, Run, Worker

GLANCE_SECONDS = 0.5
"""While it trains, a worker looks so often whether its run is still wanted."""
SETTLED = {State.FINISHED, State.FAILED}
BUSY_SECONDS = 3.0
"""A run that somebody else trains is looked at again after so long."""
log = logging.getLogger(__name__)


@dataclass
class QueueWorker:
    """Trains one run after the other; shares the queue with other workers through claims."""

    queue: Queue
    runtime: Runtime
    should_stop: Callable[[], bool]
    run: Run
    announce: Announce
    job: str | None = None  # the scheduler's id of the job this worker is
    poll_seconds: float = 0.05  # doubled up to longest_poll_seconds while there is nothing to do
    longest_poll_seconds: float = 0.5
    patience_seconds: float = 600.0  # without a driver and without a run
    _later: dict[Path, float] = field(default_factory=dict, init=False)

    def work(self) -> None:
        """Until the queue is closed, nobody drives the search any more, or ``should_stop()``.

        Raises :class:`suite.train.run.Interrupted` (from ``run``) once ``should_stop()`` is true.
        """
        busy, pause = time.monotonic(), self.poll_seconds
        while not self.should_stop() and not self.queue.closed():
            if self.train_next():
                busy, pause = time.monotonic(), self.poll_seconds
                continue
            if time.monotonic() - busy > self.patience_seconds:
                if holder(self.queue.folder.parent) is None:
                    log.info("nobody drives the search any more")
                    return
                busy = time.monotonic()
            time.sleep(pause)
            pause = min(2 * pause, self.longest_poll_seconds)

    def train_next(self) -> bool:
        """Train the first wanted run that is free; False if there is none."""
        from suite.train.run import Interrupted

        for spec, path in self.queue.runs():
            if time.monotonic() < self._later.get(path, 0.0):
                continue
            try:
                since = path.stat().st_mtime
            except FileNotFoundError:  # discarded a moment ago
                continue
            state = state_of(spec, self.runtime.runs_root, since)
            if state is not State.READY:
                wait = math.inf if state in SETTLED else BUSY_SECONDS
                self._later[path] = time.monotonic() + wait
                continue
            try:
                self._train(spec, path, since)
            except Interrupted:
                if self.should_stop():
                    raise
                log.info("run %s is not wanted any more", spec.run_id)
            return True
        return False

    def _train(self, spec: RunSpec, path: Path, since: float) -> None:
        stop = _Unwanted(path, self.should_stop)
        Worker(
            [spec], self.runtime, since, stop, self.run, self.announce, self.job, patience_seconds=0
        ).work()


class _Unwanted:
    """Whether a run shall stop: asked after every optimizer step, so it looks seldom."""

    def __init__(self, path: Path, should_stop: Callable[[], bool]) -> None:
        self._path, self._should_stop = path, should_stop
        self._looked = time.monotonic()
        self._gone = False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._gone and now - self._looked > GLANCE_SECONDS:
            self._looked, self._gone = now, not self._path.exists()
        return self._gone or self._should_stop()
