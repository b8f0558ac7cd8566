"""A worker trains runs from a list, one pack after the other, sharing it with other workers."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.interface.errors import UserError
from suite.store.claims import Claim, ClaimLost, claim
from suite.store.states import State, directory_of, state_of
from suite.tracking import Follower

POLL_SECONDS = 0.3
log = logging.getLogger(__name__)

Run = Callable[[RunSpec, Runtime, Callable[[], bool]], None]
RunPacked = Callable[[Sequence[RunSpec], Runtime, Callable[[], bool]], Mapping[RunSpec, Exception]]
"""Trains runs side by side; returns those that failed."""
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
    run_packed: RunPacked | None = None  # None: every run alone
    patience_seconds: float = math.inf  # to watch others train before leaving the runs to them
    _gone_wrong: set[RunSpec] = field(default_factory=set, init=False)

    def work(self) -> None:
        """Raises :class:`Interrupted` (from ``run``) once ``should_stop()`` is true."""
        open_runs = list(self.specs)
        busy = time.monotonic()
        while not self.should_stop():
            states = {spec: self._state(spec) for spec in open_runs}
            open_runs = [spec for spec, state in states.items() if state is not State.FINISHED]
            ready = [spec for spec in open_runs if states[spec] is State.READY]
            if any(self._try(group) for group in self._groups(ready)):
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

    def _groups(self, ready: Sequence[RunSpec]) -> Iterator[list[RunSpec]]:
        if self.run_packed is None:
            return ([spec] for spec in ready)
        return packs(ready, self.runtime)

    def _try(self, group: Sequence[RunSpec]) -> bool:
        """Claim and train what others have not claimed of a group; False if that is nothing."""
        from suite.train.run import Interrupted

        with ExitStack() as claims:
            held: dict[RunSpec, Claim] = {}
            for spec in group:
                try:
                    mine = claim(directory_of(spec, self.runtime.runs_root).path, self.job)
                except Exception as error:  # noqa: BLE001  (recorded; the other runs go on)
                    self._note_failure(spec, error)
                    continue
                if mine is not None:
                    held[spec] = claims.enter_context(mine)
            if not held:
                return False
            for spec in held:
                self.announce(directory_of(spec, self.runtime.runs_root).path)
            try:
                failures = self._train(list(held), _stop_or_lost(held.values(), self.should_stop))
            except Interrupted:
                raise
            except ClaimLost as lost:
                log.warning("%s", lost)
                return True
            for spec, failure in failures.items():
                self._note_failure(spec, failure)
        return True

    def _train(
        self, specs: Sequence[RunSpec], stop: Callable[[], bool]
    ) -> Mapping[RunSpec, Exception]:
        """Train these runs; returns those that failed, with the reason."""
        from suite.train.run import Interrupted

        if len(specs) > 1 and self.run_packed is not None:
            return self.run_packed(specs, self.runtime, stop)
        try:
            self.run(specs[0], self.runtime, stop)
        except (Interrupted, ClaimLost):
            raise
        except Exception as error:  # noqa: BLE001  (recorded; the other runs go on)
            return {specs[0]: error}
        return {}

    def _note_failure(self, spec: RunSpec, error: Exception) -> None:
        self._gone_wrong.add(spec)
        log.warning("%s seed %d failed: %s", spec.label, spec.config.seed, error)
        try:
            directory_of(spec, self.runtime.runs_root).write_failure(error)
        except UserError as unwritten:  # a full disk, say
            log.warning("%s", unwritten)


def packs(specs: Sequence[RunSpec], runtime: Runtime) -> Iterator[list[RunSpec]]:
    """Runs to train side by side: those that can share a pack, as many as may."""
    from suite.train.pack import at_once, shared

    groups: dict[Hashable, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(shared(spec.config), []).append(spec)
    for group in groups.values():
        size = at_once(group[0].config, runtime)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def _stop_or_lost(claims: Collection[Claim], should_stop: Callable[[], bool]) -> Callable[[], bool]:
    def stop() -> bool:
        for held in claims:
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
