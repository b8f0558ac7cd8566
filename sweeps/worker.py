"""A worker trains runs from a list, one after the other, sharing the list with other workers."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from suite.claims import Claim, ClaimLost, claim
from suite.config import RunSpec, Runtime
from suite.errors import UserError
from suite.tracker import Follower
from sweeps.states import State, directory_of, state_of

POLL_SECONDS = 0.3
log = logging.getLogger(__name__)

Run = Callable[[RunSpec, Runtime, Callable[[], bool]], None]
Announce = Callable[[Path], None]
"""Told the directory of every run that starts."""


@dataclass
class Worker:
    """Trains whatever is ready of a list of runs until nothing is left to train or to wait for."""

    specs: Sequence[RunSpec]
    runtime: Runtime
    since: float  # failures before this time do not count
    should_stop: Callable[[], bool]
    run: Run
    announce: Announce
    job: str | None = None  # the scheduler's id of the job this worker is
    patience_seconds: float = math.inf  # to watch others train before leaving the runs to them
    _gone_wrong: set[RunSpec] = field(default_factory=set, init=False)

    def work(self) -> None:
        """Raises :class:`suite.run.Interrupted` (from ``run``) once ``should_stop()`` is true."""
        open_runs = list(self.specs)
        busy = time.monotonic()
        while not self.should_stop():
            states = {spec: self._state(spec) for spec in open_runs}
            open_runs = [spec for spec, state in states.items() if state is not State.FINISHED]
            ready = [spec for spec in open_runs if states[spec] is State.READY]
            if any(self._try(spec) for spec in ready):
                busy = time.monotonic()
                continue
            waits = {State.RUNNING, State.WAITING} & set(states.values())
            if not ready and not waits:
                return
            if time.monotonic() - busy > self.patience_seconds:
                log.info("others train what is left")
                return
            time.sleep(POLL_SECONDS)

    def _state(self, spec: RunSpec) -> State:
        state = state_of(spec, self.runtime.runs_root, self.since)
        return State.FAILED if state is State.READY and spec in self._gone_wrong else state

    def _try(self, spec: RunSpec) -> bool:
        """Claim and train one run; False if somebody else was quicker."""
        from suite.run import Interrupted

        directory = directory_of(spec, self.runtime.runs_root)
        try:
            held = claim(directory.path, self.job)
            if held is None:
                return False
            with held:
                self.announce(directory.path)
                self.run(spec, self.runtime, _stop_or_lost(held, self.should_stop))
        except Interrupted:
            raise
        except ClaimLost as lost:
            log.warning("%s", lost)
        except Exception as error:  # noqa: BLE001  (recorded; the other runs go on)
            self._note_failure(spec, error)
        return True

    def _note_failure(self, spec: RunSpec, error: Exception) -> None:
        self._gone_wrong.add(spec)
        log.warning("%s seed %d failed: %s", spec.label, spec.config.seed, error)
        try:
            directory_of(spec, self.runtime.runs_root).write_failure(error)
        except UserError as unwritten:  # a full disk, say
            log.warning("%s", unwritten)


def _stop_or_lost(held: Claim, should_stop: Callable[[], bool]) -> Callable[[], bool]:
    def stop() -> bool:
        held.check()
        return should_stop()

    return stop


@contextmanager
def mirror(runtime: Runtime) -> Iterator[Announce]:
    """A process beside the worker that mirrors its runs to W&B, if the runtime wants it."""
    if runtime.tracker == "none":
        yield lambda _: None
        return
    log_file = runtime.runs_root / "jobs" / f"wandb-{os.getpid()}.log"
    with Follower(log_file) as follower:
        yield follower.follow
