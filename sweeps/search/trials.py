"""What the runs of a trial say, from the run store: validation figures and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.config import RunSpec
from suite.interface.errors import UserError
from suite.store.lease import holder
from suite.store.record import RecordError, RunDirectory, read_object, write_json
from sweeps.search.experiment import Objective, Pruner

ACCURACY = "val/top1_percent"


class TestSplitRead(UserError):
    """A run of a search has seen test images; nothing of it may be used to choose settings."""

    __test__ = False  # to pytest, the name looks like a test


def require_validation_only(spec: RunSpec) -> RunSpec:
    """The run itself. Raises :class:`TestSplitRead` unless it evaluates on val alone."""
    splits = spec.config.data.eval_splits
    if splits != ("val",) or spec.config.data.train_split != "train":
        raise TestSplitRead(
            f"run {spec.run_id}: evaluates on {', '.join(splits)} and trains on "
            f"{spec.config.data.train_split}; a search holds val out and sees nothing else"
        )
    return spec


def _accuracy(figures: Mapping[str, Any], directory: RunDirectory) -> float | None:
    if any(key.startswith("test/") for key in figures):
        raise TestSplitRead(f"{directory.path}: has test figures, which a search must not read")
    value = figures.get(ACCURACY)
    return None if value is None else float(value)


def failure_of(directory: RunDirectory, queued: float | None) -> str | None:
    """Why the run failed after it was queued at this time; None if it did not, or trains again."""
    if queued is None or directory.finished() or holder(directory.path) is not None:
        return None
    try:
        if directory.failure.stat().st_mtime < queued:
            return None
    except FileNotFoundError:
        return None
    return str(directory.read_failure().get("error", "unknown reason"))


def note(directory: RunDirectory, study: str, number: int, state: str) -> None:
    """Write ``trial.json``: which trial the run belongs to, and that trial's state.

    Where several trials want the same run, it belongs to the newest that trains it: a run that is
    finished stays with its trial, and one that another trial goes on with is not pruned.
    """
    before = _noted(directory)
    now = {"study": study, "number": number, "state": state}
    if before == now or not (state == "running" or directory.config.is_file()):
        return
    done = before is not None and before["state"] == "complete"
    taken_over = before is not None and before["number"] > number and state != "running"
    if not done and not taken_over:
        write_json(directory.trial, now)


def _noted(directory: RunDirectory) -> dict[str, Any] | None:
    """What ``trial.json`` says; None also for a damaged one, which the driver writes anew."""
    try:
        content = read_object(directory.trial)
    except RecordError:
        return None
    complete = content is not None and isinstance(content.get("number"), int) and "state" in content
    return content if complete else None


@dataclass(frozen=True)
class TrialRuns:
    """The runs of one trial, one per seed, in the order in which they are judged."""

    specs: tuple[RunSpec, ...]
    runs_root: Path
    pruner: Pruner
    objective: Objective

    def directories(self) -> list[RunDirectory]:
        """The folders of the runs."""
        return [RunDirectory.of(self.runs_root, s.experiment, s.run_id) for s in self.specs]

    def wanted(self) -> tuple[RunSpec, ...]:
        """The runs that may train now, finished ones included."""
        done = [directory.finished() for directory in self.directories()]
        if self.pruner.name == "none" or all(done):
            return self.specs
        if self.pruner.name == "wilcoxon":
            return self.specs[: done.index(False) + 1]
        return self.specs if done[0] else self.specs[:1]

    def signature(self) -> tuple[object, ...]:
        """Changes whenever a file that says something of the runs does."""
        return tuple(
            _modified_and_size(path)
            for run in self.directories()
            for path in (run.metrics, run.result, run.failure, run.path / "claim.json")
        )

    def open_runs(self) -> int:
        """How many of the wanted ones are not finished."""
        wanted = zip(self.wanted(), self.directories(), strict=False)
        return sum(not directory.finished() for _, directory in wanted)

    def finished(self) -> bool:
        """Whether all runs are finished."""
        return all(directory.finished() for directory in self.directories())

    def failure(self, queued: Mapping[str, float]) -> str | None:
        """Why a run failed after it was queued (run id -> time), None if none did."""
        reasons = (failure_of(run, queued.get(run.path.name)) for run in self.directories())
        return next((reason for reason in reasons if reason is not None), None)

    def intermediate(self) -> list[tuple[int, float]]:
        """(step, accuracy in percent) so far: epochs of the first seed, or the seeds in turn."""
        if self.pruner.name == "wilcoxon":
            return list(enumerate(self._finished_first()))
        directory = self.directories()[0]
        curve = ((row["epoch"], _accuracy(row, directory)) for row in directory.read_metrics())
        return [(epoch, value) for epoch, value in curve if value is not None]

    def values(self) -> list[float]:
        """What the trial is worth: means over the seeds, once all runs are finished."""
        results = [(run, run.read_result() or {}) for run in self.directories()]
        accuracies = [self._final(result, directory) for directory, result in results]
        values = [_mean(accuracies)]
        if self.objective.second is not None:
            values.append(_mean(r["train_seconds"] / r["steps"] for _, r in results))
        return values

    def train_seconds(self) -> float:
        """Training so far, over all runs."""
        last = [rows[-1]["seconds"] for run in self.directories() if (rows := run.read_metrics())]
        return float(sum(last))

    def _finished_first(self) -> Iterable[float]:
        for directory in self.directories():
            if not directory.finished():
                return
            yield self._final(directory.read_result() or {}, directory)

    def _final(self, result: Mapping[str, Any], directory: RunDirectory) -> float:
        value = _accuracy(result[self.objective.epoch] or {}, directory)
        if value is None:
            raise UserError(f"{directory.path}: has no validation accuracy")
        return value


def _modified_and_size(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


def _mean(values: Iterable[float]) -> float:
    numbers: Sequence[float] = list(values)
    return sum(numbers) / len(numbers)
