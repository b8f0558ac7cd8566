"""The board of a sweep's runs, for `status` and while a sweep runs.

Reads the manifest rather than expanding the experiment, knows nothing of the workers, and opens no
file of runs that wait, so that thousands of runs are looked at in a second.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from suite.names import TEACHERS
from suite.store.lease import holder
from suite.store.record import RunDirectory, read_rows
from suite.store.states import SETTLED, State, apart, state_in
from sweeps.plan.manifest import runs_of
from sweeps.slurm import jobs

ASK_SECONDS = 5.0  # between questions to SLURM
MOST_ROWS = 60  # more runs than that: only those that are running or need a look
HOPELESS = 5  # so many first runs that all fail of one error
QUIET = {State.FINISHED, State.READY, State.WAITING, State.QUEUED}
STYLE = {
    State.FINISHED: "green",
    State.FAILED: "red",
    State.RUNNING: "cyan",
    State.STOPPED: "yellow",
}


@dataclass(frozen=True)
class RunState:
    """A run of a manifest, and how it is now."""

    row: dict[str, Any]  # of the manifest
    run: RunDirectory
    state: State
    note: str = ""

    @property
    def needs_a_look(self) -> bool:
        """Whether it runs, failed, stopped, or had a job that is gone."""
        return self.state not in QUIET or (bool(self.note) and self.state is not State.QUEUED)

    def progress(self) -> str:
        """How far the run is, and the note."""
        rows = read_rows(self.run.metrics)
        if not rows:
            return self.note
        epoch = f"epoch {rows[-1]['epoch']}/{self.row.get('planned_epochs', '?')}"
        return " ".join([epoch, accuracy(rows), self.note]).rstrip()

    def epochs(self) -> int:
        """Epochs trained so far."""
        if self.state is State.FINISHED:
            return int(self.row.get("planned_epochs", 0))
        if self.state not in {State.RUNNING, State.STOPPED, State.QUEUED}:
            return 0
        rows = read_rows(self.run.metrics)
        return int(rows[-1]["epoch"]) if rows else 0

    def line(self) -> str:
        """One line, for an output that is no terminal."""
        run = f"{self.row['label']} {self.row['student']} seed {self.row['seed']}"
        return f"{run}: {self.state}: {self.progress()}"


class Board:
    """What the runs of a manifest are doing; failures before the time ``since`` do not count."""

    def __init__(self, manifest: Path, since: float = 0.0) -> None:
        self._runs_root, self._since = manifest.parent.parent, since
        self._jobs = _Jobs(self._runs_root, manifest.parent.name)
        rows = {row["directory"]: row for row in runs_of(manifest)}
        self._rows = rows
        self.runs: dict[str, RunState] = {}
        self.refresh()
        self._settled_before = {name for name, run in self.runs.items() if run.state in SETTLED}
        self.made, self.epochs_before = time.time(), self.epochs()

    def refresh(self) -> list[RunState]:
        """Look again; returns the runs that finished or failed since the last look."""
        known = self._jobs.of(self._rows)
        ended = []
        for name, row in self._rows.items():
            last = self.runs.get(name)
            if last is not None and last.state is State.FINISHED:
                continue
            self.runs[name] = now = self._look(row, *known.get(name, (None, "")))
            if last is not None and last.state != now.state and now.state in SETTLED:
                ended.append(now)
        return ended

    def states(self) -> set[State]:
        """All states that some run is in."""
        return {run.state for run in self.runs.values()}

    def settled(self) -> bool:
        """Whether no run is left to wait for."""
        return self.states() <= SETTLED

    def hopeless(self) -> str | None:
        """The error with which all of the first runs failed, whatever their method, or None.

        Numbers in the message, such as an epoch, may differ.
        """
        runs = [run for name, run in self.runs.items() if name not in self._settled_before]
        failed = [run for run in runs if run.state is State.FAILED]
        open_ = [run for run in runs if run.state not in SETTLED]
        if len(failed) < HOPELESS or not open_ or any(r.state is State.FINISHED for r in runs):
            return None
        methods, all_methods = ({run.row["label"] for run in group} for group in (failed, runs))
        errors = {re.sub(r"\d+", "#", run.note) for run in failed}
        several = len(methods) >= min(2, len(all_methods))
        return failed[-1].note if several and len(errors) == 1 else None

    def summary(self) -> str:
        """``19 runs: 12 finished, 2 running, 5 ready``, and the time left once it is known."""
        total = Counter(run.state for run in self.runs.values())
        counts = ", ".join(f"{number} {state}" for state, number in total.most_common())
        return f"{len(self.runs)} runs: {counts}"

    def table(self, *, everything: bool = False) -> RenderableType:
        """Counts, for many runs by method and pair, then the runs that deserve a line."""
        runs = list(self.runs.values())
        everything = everything or len(runs) <= MOST_ROWS
        shown = [run for run in runs if everything or run.needs_a_look]
        parts: list[RenderableType] = [Text(self.summary())]
        parts += [] if everything else [self._cells()]
        parts += [_lines(shown if everything else shown[:MOST_ROWS])] if shown else []
        if not everything and len(shown) > MOST_ROWS:
            parts.append(Text(f"and {len(shown) - MOST_ROWS} more (--all shows them)"))
        return Group(*parts)

    def __rich__(self) -> RenderableType:
        """While a sweep runs: what runs or failed, and how long it will take."""
        shown = [run for run in self.runs.values() if run.needs_a_look]
        summary = Text(self.summary() + time_left([self]), no_wrap=False, overflow="fold")
        return Group(_lines(shown[:MOST_ROWS]), summary)  # never cut on a narrow terminal

    def _look(self, row: dict[str, Any], job: jobs.Job | None, job_state: str) -> RunState:
        run = RunDirectory(self._runs_root / row["directory"])
        run_ids = apart(row.get("teacher_run_id"))
        teachers = [RunDirectory.of_teacher(self._runs_root, run_id) for run_id in run_ids]
        ancestors = row.get("ancestors", ())
        above = [RunDirectory.of_teacher(self._runs_root, run_id) for run_id in ancestors]
        alive = job is not None and job_state in jobs.ALIVE
        since = max(self._since, job.since) if job is not None and alive else self._since
        state = state_in(run, teachers, since, above)
        if state is State.RUNNING:
            return RunState(row, run, state, f"on {(holder(run.path) or {}).get('host', '?')}")
        if state is State.FAILED:
            return RunState(row, run, state, str(run.read_failure().get("error", "unknown reason")))
        if state is State.FINISHED or job is None:
            return RunState(row, run, state)
        if alive:
            return RunState(row, run, State.QUEUED, f"job {job.id} {job_state.lower()}")
        return RunState(row, run, state, f"job {job.id} {job_state}")

    def epochs(self) -> int:
        """Epochs trained so far, over all runs."""
        return sum(run.epochs() for run in self.runs.values())

    def _cells(self) -> Table:
        cells: dict[tuple[str, str], Counter[State]] = {}
        for run in self.runs.values():
            pair, label = run.row["pair"], run.row["label"]
            cells.setdefault((pair, label) if pair else (TEACHERS, ""), Counter())[run.state] += 1
        table = Table("pair", "method", "done", "", box=None, pad_edge=False)
        for (pair, label), counts in cells.items():
            rest = ", ".join(f"{n} {state}" for state, n in counts.items() if state != "finished")
            done = f"{counts[State.FINISHED]}/{counts.total()}"
            table.add_row(*map(Text, (pair, label, done, rest)))
        return table


class _Jobs:
    """The newest job of each run, and SLURM's state of it; asks SLURM seldom."""

    def __init__(self, runs_root: Path, experiment: str) -> None:
        self._runs_root, self._experiment = runs_root, experiment
        self._asked, self._known = -ASK_SECONDS, dict[str, tuple[jobs.Job, str]]()

    def of(self, runs: Mapping[str, Any]) -> dict[str, tuple[jobs.Job, str]]:
        """Run directory -> job and state."""
        if time.monotonic() - self._asked >= ASK_SECONDS:
            noted = jobs.read(self._runs_root, self._experiment)
            noted += jobs.read(self._runs_root, TEACHERS)
            newest = {run: job for job in noted for run in job.runs if run in runs}
            job_states = _job_states(list(dict.fromkeys(newest.values())))
            self._known = {run: (job, job_states.get(job.id, "?")) for run, job in newest.items()}
            self._asked = time.monotonic()
        return self._known


def _job_states(of_runs: Sequence[jobs.Job]) -> dict[str, str]:
    try:
        in_queue = jobs.queued(of_runs)
    except jobs.SlurmSilent:
        return {}
    return in_queue | jobs.ended([job for job in of_runs if job.id not in in_queue])


def time_left(boards: Sequence[Board]) -> str:
    """Of boards made together, from the epochs trained since; empty before the first epoch."""
    runs = [run for board in boards for run in board.runs.values()]
    possible = [run for run in runs if run.state not in SETTLED - {State.FINISHED}]
    total = sum(run.row.get("planned_epochs", 0) for run in possible)
    now = sum(board.epochs() for board in boards)
    done = now - sum(board.epochs_before for board in boards)
    if done <= 0 or now >= total:
        return ""
    seconds = (time.time() - boards[0].made) / done * (total - now)
    return f", about {duration(seconds)} left"


def _lines(runs: Sequence[RunState]) -> Table:
    table = Table("run", "method", "student", "seed", "state", "", box=None, pad_edge=False)
    for run in runs:
        cells = (str(run.row[name]) for name in ("run_id", "label", "student", "seed"))
        state = Text(run.state, STYLE.get(run.state, "default"))
        table.add_row(*map(Text, cells), state, Text(run.progress()))
    return table


def accuracy(rows: Sequence[dict[str, Any]]) -> str:
    """The newest validation accuracy, or test accuracy of runs without a validation split."""
    for key in ("val/top1_percent", "test/top1_percent"):
        values = [row[key] for row in rows if key in row]
        if values:
            return f"{key.partition('/')[0]} {values[-1]:.2f} %"
    return ""


def duration(seconds: float) -> str:
    """``3 h 07 min`` or ``4 min 09 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
