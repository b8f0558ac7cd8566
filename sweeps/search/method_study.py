"""The study of one method: asks for trials, reports what their runs say, tells how they end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from suite.interface.errors import UserError
from suite.store.record import RunDirectory
from sweeps.search import space as spaces
from sweeps.search.plan import Tuning
from sweeps.search.study import complete, open_study, propose
from sweeps.search.trials import TrialRuns, note

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
NEVER = -1  # before the first intermediate step
LOOK_SECONDS = 5.0
"""How often a trial is looked at although no file of its runs has changed: workers can die."""


@dataclass
class Running:
    """A trial that is under way."""

    number: int
    trial_id: int
    runs: TrialRuns
    reported: int  # newest intermediate step in the study
    _seen: object = None
    _looked: float = 0.0

    def busy_workers(self) -> int:
        """Workers that it can use; 1 while it awaits its verdict."""
        return max(1, self.runs.open_runs())

    def is_unchanged(self) -> bool:
        """Whether no file of the runs has changed since the last look, a moment ago."""
        signature, now = self.runs.signature(), time.monotonic()
        if signature == self._seen and now - self._looked < LOOK_SECONDS:
            return True
        self._seen, self._looked = signature, now
        return False


@dataclass
class Counts:
    """What the study holds."""

    asked: int = 0
    told: int = 0
    failed: int = 0
    train_seconds: float = 0.0  # of the trials that were told


class MethodStudy:
    """One method's trials; the only code that writes its study."""

    def __init__(
        self,
        tuning: Tuning,
        storage: BaseStorage,
        runs_root: Path,
        ended: Callable[[MethodStudy, FrozenTrial], None],
    ) -> None:
        self.tuning, self.study = tuning, open_study(tuning, storage)
        self.running: list[Running] = []
        self.counts = Counts()
        self._storage, self._runs_root, self._ended = storage, runs_root, ended
        self._resume()

    def wants_more(self) -> bool:
        """Whether the budget, or the grid, allows another trial."""
        settings, asked = self.tuning.settings, self.counts.asked
        if settings.sampler.name == "grid":
            points = math.prod(map(len, spaces.grid(self.tuning.space).values()))
            if asked >= points:
                return False
        if settings.budget.trials is not None:
            return asked < settings.budget.trials
        spent = self.counts.train_seconds + sum(
            running.runs.train_seconds() for running in self.running
        )
        return spent < 3600 * (settings.budget.hours or 0.0)

    def ask(self) -> Running | None:
        """A new trial under way; None if it ended at once."""
        trial = propose(self.study, self.tuning)
        self.counts.asked += 1
        return self._begin(trial.number, trial._trial_id, trial.params, NEVER)

    def advance(self, running: Running, queued: Mapping[str, float]) -> None:
        """Report what is new and tell the trial if it is over.

        ``queued`` maps run ids to the time since when a failure counts.
        """
        if running.is_unchanged():
            return
        runs = running.runs
        reason = runs.failure(queued)
        if reason is not None:
            self._finish(running, TrialState.FAIL, reason=reason)
            return
        finished = runs.finished()  # looked at first, so that the rows read next are complete
        if self.tuning.settings.objective.second is None:  # Optuna prunes by one objective only
            for step, value in runs.intermediate():
                if step > running.reported and self._report(running, step, value):
                    self._finish(running, TrialState.PRUNED)
                    return
        if finished:
            self._finish(running, TrialState.COMPLETE, values=runs.values())

    def _resume(self) -> None:
        """Resume the trials that an earlier driver left."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state is TrialState.WAITING:
                continue
            self.counts.asked += 1
            if trial.state is TrialState.RUNNING:
                params = trial.params
                if set(params) != set(self.tuning.space):
                    params = complete(self.study, self.tuning, trial).params
                newest = NEVER if trial.last_step is None else trial.last_step
                self._begin(trial.number, trial._trial_id, params, newest)
            else:
                self._count(trial)
                self._note(trial)

    def _begin(
        self, number: int, trial_id: int, params: dict[str, Any], reported: int
    ) -> Running | None:
        try:
            specs = self.tuning.specs(params)
        except UserError as error:  # values that contradict each other
            self._tell(number, trial_id, TrialState.FAIL, reason=" ".join(str(error).split()))
            return None
        settings = self.tuning.settings
        runs = TrialRuns(specs, self._runs_root, settings.pruner, settings.objective)
        self._storage.set_trial_user_attr(trial_id, "runs", [spec.run_id for spec in specs])
        running = Running(number, trial_id, runs, reported)
        self.running.append(running)
        for directory in runs.directories():
            note(directory, self.study.study_name, number, "running")
        return running

    def _report(self, running: Running, step: int, value: float) -> bool:
        """Send one intermediate value; True if the pruner stops the trial here."""
        self._storage.set_trial_intermediate_value(running.trial_id, step, value)
        running.reported = step
        trial = self._storage.get_trial(running.trial_id)
        verdict = self.study.pruner.prune(self.study, trial)  # also where it can save nothing:
        return verdict and not self._is_last_step(running, step)  # hyperband counts who came so far

    def _is_last_step(self, running: Running, step: int) -> bool:
        seeds = len(running.runs.specs)
        if running.runs.pruner.name == "wilcoxon":
            return step == seeds - 1
        return seeds == 1 and step >= self.tuning.epochs

    def _finish(
        self,
        running: Running,
        state: TrialState,
        values: list[float] | None = None,
        reason: str | None = None,
    ) -> None:
        self.running.remove(running)
        seconds = running.runs.train_seconds()
        self._storage.set_trial_user_attr(running.trial_id, "train_seconds", seconds)
        self._tell(running.number, running.trial_id, state, values, reason)

    def _tell(
        self,
        number: int,
        trial_id: int,
        state: TrialState,
        values: list[float] | None = None,
        reason: str | None = None,
    ) -> None:
        """Tell the study, once; then leave the verdict in the runs' folders."""
        if reason is not None:
            self._storage.set_trial_user_attr(trial_id, "failure", reason[:1000])
        self.study.tell(number, values, state)
        trial = self._storage.get_trial(trial_id)
        self._count(trial)
        self._note(trial)
        self._ended(self, trial)

    def _count(self, trial: FrozenTrial) -> None:
        self.counts.told += 1
        self.counts.failed += trial.state is TrialState.FAIL
        self.counts.train_seconds += float(trial.user_attrs.get("train_seconds", 0.0))

    def _note(self, trial: FrozenTrial) -> None:
        for run_id in trial.user_attrs.get("runs", ()):
            directory = RunDirectory.of(self._runs_root, self.tuning.search, run_id)
            note(directory, self.study.study_name, trial.number, STATES[trial.state])
