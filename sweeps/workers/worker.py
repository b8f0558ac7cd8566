"""A worker takes groups of runs and trains them, one group after the other."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.interface.errors import UserError
from suite.store.lease import Lease, LeaseLost, acquire
from suite.store.states import directory_of
from suite.tracking import Uploader
from sweeps.workers.source import Source

FIRST_PAUSE_SECONDS = 0.05
"""Doubled, while there is nothing to do, up to:"""
LONGEST_PAUSE_SECONDS = 0.5
SHARED_PAUSE_SECONDS = 5.0
"""of a scheduler's job: many ask one file system."""
log = logging.getLogger(__name__)

Train = Callable[[Sequence[RunSpec], Runtime, Callable[[], bool]], Mapping[RunSpec, Exception]]
"""Trains a group of runs side by side; returns those that failed. One run is a group of one."""
Announce = Callable[[Path], None]
"""Told the directory of every run that starts."""


@dataclass(frozen=True)
class Worker:
    """Trains what its source has ready, until the source ends or ``should_stop()``."""

    source: Source
    runtime: Runtime
    should_stop: Callable[[], bool]
    train: Train
    announce: Announce
    job: str | None = None  # the scheduler's id of the job this worker is

    def work(self) -> None:
        """Train until the source is empty or ``should_stop()``; a run under way is saved first."""
        longest = LONGEST_PAUSE_SECONDS if self.job is None else SHARED_PAUSE_SECONDS
        last_trained, pause = time.monotonic(), FIRST_PAUSE_SECONDS
        while not self.should_stop():
            groups = self.source.ready(time.monotonic() - last_trained)
            if groups is None:
                return
            if self.train_first(groups):
                last_trained, pause = time.monotonic(), FIRST_PAUSE_SECONDS
            else:
                time.sleep(pause)
                pause = min(2 * pause, longest)

    def train_first(self, groups: Iterable[Sequence[RunSpec]]) -> bool:
        """Train the first group that others have not taken entirely; False if there is none."""
        return any(self._train(group) for group in groups)

    def _train(self, group: Sequence[RunSpec]) -> bool:
        from suite.train.run import Interrupted

        with ExitStack() as leases:
            held: dict[RunSpec, Lease] = {}
            for spec in group:
                lease = self._acquire(spec)
                if lease is not None:
                    held[spec] = leases.enter_context(lease)
            if not held:
                return False
            for spec in held:
                self.announce(directory_of(spec, self.runtime.runs_root).path)
            try:
                failures = self.train(list(held), self.runtime, lambda: self._must_stop(held))
            except Interrupted as stop:
                log.info("%s", stop)
            except LeaseLost as lost:
                log.warning("%s", lost)
            else:
                for spec, failure in failures.items():
                    self._note_failure(spec, failure)
        return True

    def _acquire(self, spec: RunSpec) -> Lease | None:
        try:
            return acquire(directory_of(spec, self.runtime.runs_root).path, self.job)
        except Exception as error:  # noqa: BLE001  (recorded; the other runs go on)
            self._note_failure(spec, error)
            return None

    def _must_stop(self, held: Mapping[RunSpec, Lease]) -> bool:
        """Asked after every optimizer step. Raises :class:`LeaseLost`."""
        for lease in held.values():
            lease.check()
        return self.should_stop() or not self.source.wants(list(held))

    def _note_failure(self, spec: RunSpec, error: Exception) -> None:
        self.source.drop(spec)
        log.warning("%s seed %d failed: %s", spec.label, spec.config.seed, error)
        try:
            directory_of(spec, self.runtime.runs_root).write_failure(error)
        except UserError as unwritten:  # a full disk, say
            log.warning("%s", unwritten)


@contextmanager
def uploading(runtime: Runtime) -> Iterator[Announce]:
    """A process beside the worker that sends its runs to a tracker, if the runtime wants one."""
    if runtime.tracker == "none":
        yield lambda _: None
        return
    log_file = runtime.runs_root / "jobs" / f"{runtime.tracker}-{os.getpid()}.log"
    with Uploader(log_file, runtime.tracker) as uploader:
        yield uploader.watch
