"""What a worker of a search trains: what lies in the queue, until the driver closes it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from suite.store.lease import holder
from suite.store.states import TRAINABLE, State, state_of

if TYPE_CHECKING:  # a job is unpickled before it imports torch
    from suite.config import RunSpec, Runtime
    from sweeps.search.queue import Queue

GLANCE_SECONDS = 0.5
"""How often a worker that trains looks whether its run is still in the queue."""
BUSY_SECONDS = 3.0
"""How long until a run that cannot begin, or that somebody else trains, is looked at again."""
OVER = {State.FINISHED, State.FAILED}
PATIENCE_SECONDS = 600.0  # without a driver and without a run
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchWork:
    """The runs of a search, as they come."""

    experiment: str
    size: None = None

    def open(self, runtime: Runtime, job: str | None) -> QueueSource:
        """See :class:`sweeps.workers.source.Work`."""
        from sweeps.search.queue import Queue

        return QueueSource(Queue(runtime.runs_root, self.experiment), runtime)

    def unfinished(self, runs_root: Path) -> list[str]:
        """Nothing: what a worker leaves, another finds in the queue."""
        return []


@dataclass
class QueueSource:
    """One run after the other; workers share the queue through leases."""

    queue: Queue
    runtime: Runtime
    patience_seconds: float = PATIENCE_SECONDS
    _later: dict[Path, float] = field(default_factory=dict)  # file -> not looked at before
    _wanted: dict[str, Path] = field(default_factory=dict)  # run id -> file
    _glanced: float = 0.0

    def ready(self, idle_seconds: float) -> list[list[RunSpec]] | None:
        """None when the queue is closed, or after a while in which nobody drives the search."""
        if self.queue.closed():
            return None
        if idle_seconds > self.patience_seconds and holder(self.queue.folder.parent) is None:
            log.info("nobody drives the search any more")
            return None
        return [[spec] for spec, path in self.queue.runs() if self._is_ready(spec, path)]

    def drop(self, spec: RunSpec) -> None:
        """The driver hears of it; another worker would fail, too."""
        self._later[self._wanted[spec.run_id]] = math.inf

    def wants(self, specs: Sequence[RunSpec]) -> bool:
        """As long as the files are there; only the answer yes is kept for a while."""
        now = time.monotonic()
        if now - self._glanced < GLANCE_SECONDS:
            return True
        if all(self._wanted[spec.run_id].exists() for spec in specs):
            self._glanced = now
            return True
        return False

    def _is_ready(self, spec: RunSpec, path: Path) -> bool:
        now = time.monotonic()
        if now < self._later.get(path, 0.0):
            return False
        try:
            since = path.stat().st_mtime
        except FileNotFoundError:  # discarded a moment ago
            return False
        self._wanted[spec.run_id] = path
        state = state_of(spec, self.runtime.runs_root, since)
        if state not in TRAINABLE:
            self._later[path] = now + (math.inf if state in OVER else BUSY_SECONDS)
        return state in TRAINABLE
