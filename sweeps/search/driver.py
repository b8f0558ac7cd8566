"""The one process that asks and tells: trials become queued runs, and runs become values.

All it knows lies in the study and in the run store, so that a step can be cut off anywhere. The
next driver finds trials without parameters (and completes them), without runs in the queue (and
queues them), with finished runs (and tells them), with a verdict (and leaves it in the runs).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from suite.config import RunSpec
from suite.interface.errors import UserError
from suite.store.states import directory_of
from sweeps.plan.damaged_files import forget_failures
from sweeps.search.method_study import MethodStudy
from sweeps.search.plan import SearchPlan
from sweeps.search.queue import Queue
from sweeps.search.trials import failure_of

HOPELESS = 5
"""A search stops when this many first trials of a method all fail."""


class SearchFailed(UserError):
    """The search cannot go on; the message says why."""


class Driver:
    """Drives a search until its budget is spent: call :meth:`step` again and again."""

    def __init__(
        self,
        plan: SearchPlan,
        storage: BaseStorage,
        runs_root: Path,
        parallel: int,
        ended: Callable[[MethodStudy, FrozenTrial], None] = lambda *_: None,
    ) -> None:
        """``parallel`` runs are wanted at a time; ``ended`` hears of every trial that ends."""
        self.queue = Queue(runs_root, plan.name)
        self.queue.open()
        self._queued = self.queue.since()
        self._plan, self._runs_root, self._parallel = plan, runs_root, parallel
        self.studies = [MethodStudy(tuning, storage, runs_root, ended) for tuning in plan.tunings]

    def step(self) -> bool:
        """Tell finished trials, ask new ones for free workers; True when nothing is left to do.

        Raises :class:`SearchFailed` when a teacher fails, or every trial of a method.
        """
        teachers = self._teachers()
        if teachers:
            self._update_queue(teachers)
            return False
        for study in self.studies:
            for running in list(study.running):
                study.advance(running, self._queued)
            self._check_hope(study)
        self._ask()
        self._update_queue(self._trials())
        return not any(study.running for study in self.studies) and self._next() is None

    def _ask(self) -> None:
        """New trials, as many as keep the workers busy; one that awaits its verdict counts too."""
        under_way = [running for study in self.studies for running in study.running]
        occupied = sum(running.busy_workers() for running in under_way)
        while occupied < self._parallel and (study := self._next()) is not None:
            running = study.ask()
            if running is not None:  # an earlier trial may have trained the same runs
                study.advance(running, self._queued)
                occupied += running.busy_workers() if running in study.running else 0
            self._check_hope(study)

    def _next(self) -> MethodStudy | None:
        """The method with the fewest trials so far, of those that may have another."""
        willing = [study for study in self.studies if study.wants_more()]
        return min(willing, key=lambda study: study.counts.asked, default=None)

    def _check_hope(self, study: MethodStudy) -> None:
        if study.counts.failed == study.counts.told >= HOPELESS:
            reasons = [trial.user_attrs.get("failure") for trial in study.study.trials]
            last = next(reason for reason in reversed(reasons) if reason)
            raise SearchFailed(
                f"{study.tuning.method}: all of the first {study.counts.told} trials failed; "
                f"the last: {last}"
            )

    def _teachers(self) -> dict[str, tuple[RunSpec, str]]:
        """The teachers that are not trained yet; no trial starts before they are."""
        missing = {}
        for spec in self._plan.teachers:
            directory = directory_of(spec, self._runs_root)
            reason = failure_of(directory, self._queued.get(spec.run_id))
            if reason is not None:
                self.queue.discard(spec.run_id)
                raise SearchFailed(f"the teacher {spec.label} failed: {reason}")
            if not directory.finished():
                missing[spec.run_id] = (spec, "000000-teacher")
        return missing

    def _trials(self) -> dict[str, tuple[RunSpec, str]]:
        """Run id -> run of a trial under way, and its place in the queue."""
        runs: dict[str, tuple[RunSpec, str]] = {}
        for study in self.studies:
            for running in study.running:
                for seed, spec in enumerate(running.runs.wanted()):
                    order = f"{running.number:06d}-{seed:02d}-{study.tuning.method}"
                    runs.setdefault(spec.run_id, (spec, order))
        return runs

    def _update_queue(self, wanted: dict[str, tuple[RunSpec, str]]) -> None:
        for run_id in set(self._queued) - set(wanted):
            self.queue.discard(run_id)
        for run_id in wanted.keys() - self._queued.keys():
            spec, order = wanted[run_id]
            self.queue.put(spec, order)
        self.queue.mend({run_id: spec for run_id, (spec, _) in wanted.items()})
        before, self._queued = self._queued, self.queue.since()
        for run_id in (self._queued.keys() & wanted.keys()) - before.keys():
            forget_failures([wanted[run_id][0]], self._runs_root, self._queued[run_id])
