"""How far an experiment is, from the run store and SLURM alone: the launcher may be long gone.

Reads the manifest rather than expanding the experiment, and no file of runs that wait, so that
thousands of runs are looked at in a second.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from suite.interface.errors import UserError
from suite.names import TEACHERS
from suite.store.claims import holder
from suite.store.record import RunDirectory, read_rows
from sweeps.plan.manifest import manifest_path, runs_of
from sweeps.slurm import jobs
from sweeps.watch.progress import accuracy

WATCH_SECONDS = 5.0
MOST_ROWS = 60  # more runs than that: only those that are running or need a look
STYLE = {"finished": "green", "failed": "red", "running": "cyan", "stopped": "yellow"}
BUSY = {"running", "queued"}
IDLE_LOOKS = 3  # watching ends when nothing is busy so many times in a row
QUIET = {"finished", "waiting", "queued"}


@dataclass(frozen=True)
class RunState:
    """A run of a manifest, and how it is now."""

    row: dict[str, Any]  # of the manifest
    run: RunDirectory
    state: str  # finished, running, failed, queued (a SLURM job has it), stopped, waiting
    note: str = ""


def status(
    experiment: str,
    settings: Sequence[str],
    runs_root: Path,
    *,
    console: Console,
    watch: bool = False,
    everything: bool = False,
) -> None:
    """Print counts, and a line per run that runs, failed or stopped.

    ``watch`` stays while anything is running or queued.
    ``everything`` gives every run a line. Raises :class:`UserError` when no sweep has begun.
    """
    manifest = _manifest(experiment, settings, runs_root)
    if not watch:
        console.print(board(look(manifest), everything=everything))
        return
    idle = 0
    with Live(console=console, auto_refresh=False) as live:
        while idle < IDLE_LOOKS:
            states = look(manifest)
            live.update(board(states, everything=everything), refresh=True)
            idle = 0 if any(it.state in BUSY for it in states) else idle + 1
            if all(it.state == "finished" for it in states):
                return
            time.sleep(WATCH_SECONDS)


def cancel(experiment: str, settings: Sequence[str], runs_root: Path) -> int:
    """Take the experiment's jobs out of SLURM's queue; running ones save first. Returns how many.

    Raises :class:`UserError` when no sweep has begun or SLURM does not answer.
    """
    manifest = _manifest(experiment, settings, runs_root)
    mine = jobs.read(runs_root, manifest.parent.name)
    states = jobs.queued(mine)
    jobs.cancel([job for job in mine if job.id in states])
    return len(states)


def _manifest(experiment: str, settings: Sequence[str], runs_root: Path) -> Path:
    path = manifest_path(experiment, settings, runs_root)
    if path.is_file():
        return path
    from sweeps.plan import files

    files.source("experiments", experiment)  # raises for an unknown name
    given = f" with {' '.join(settings)!r}" if settings else ""
    raise UserError(f"experiment {experiment!r}{given} has not been started in {runs_root}")


def look(manifest: Path) -> list[RunState]:
    """The state of every run of the manifest, once each."""
    runs_root = manifest.parent.parent
    rows = {row["directory"]: row for row in runs_of(manifest)}
    ledger = jobs.read(runs_root, manifest.parent.name) + jobs.read(runs_root, TEACHERS)
    known = _jobs_of(rows, ledger)
    return [_look(row, runs_root, known) for row in rows.values()]


def _jobs_of(rows: dict[str, Any], ledger: Sequence[jobs.Job]) -> dict[str, tuple[str, str]]:
    """Run directory -> its newest job's id and SLURM's state of that."""
    newest = {run: job for job in ledger for run in job.runs if run in rows}
    distinct = list(dict.fromkeys(newest.values()))
    if not distinct:
        return {}
    try:
        states = jobs.queued(distinct)
        gone = [job for job in distinct if job.id not in states]
        states |= jobs.ended(gone)
    except jobs.SlurmSilent:
        states = {}
    return {run: (job.id, states.get(job.id, "?")) for run, job in newest.items()}


def _look(row: dict[str, Any], runs_root: Path, known: dict[str, tuple[str, str]]) -> RunState:
    run = RunDirectory(runs_root / row["directory"])
    if run.finished():
        return RunState(row, run, "finished")
    owner = holder(run.path)
    if owner is not None:
        return RunState(row, run, "running", f"on {owner['host']}")
    job, state = known.get(row["directory"], ("", ""))
    if state in jobs.ALIVE:
        return RunState(row, run, "queued", f"job {job} {state.lower()}")
    if run.failure.is_file():
        failure = run.read_failure()
        return RunState(row, run, "failed", str(failure.get("error", "unknown reason")))
    if job:
        return RunState(row, run, "stopped", f"job {job} {state}")
    return RunState(row, run, "stopped" if run.metrics.is_file() else "waiting")


def _progress(it: RunState) -> str:
    """How far the run is, and the note."""
    rows = read_rows(it.run.metrics)
    if not rows:
        return it.note
    place = f"epoch {rows[-1]['epoch']}/{it.row.get('planned_epochs', '?')}"
    return " ".join([place, accuracy(rows), it.note]).rstrip()


def board(states: Sequence[RunState], *, everything: bool = False) -> RenderableType:
    """Counts for every method and pair, then the runs that deserve a line."""
    total = Counter(it.state for it in states)
    counts = ", ".join(f"{number} {state}" for state, number in total.most_common())
    everything = everything or len(states) <= MOST_ROWS
    parts: list[RenderableType] = [Text(f"{len(states)} runs: {counts}")]
    if not everything:
        parts.append(_cells(states))
    shown = [it for it in states if everything or it.state not in QUIET]
    table = Table("run", "method", "student", "seed", "state", "", box=None, pad_edge=False)
    for it in shown[: None if everything else MOST_ROWS]:
        words = (str(it.row[name]) for name in ("run_id", "label", "student", "seed"))
        state = Text(it.state, STYLE.get(it.state, "default"))
        table.add_row(*map(Text, words), state, Text(_progress(it)))
    if shown:
        parts.append(table)
    if not everything and len(shown) > MOST_ROWS:
        parts.append(Text(f"and {len(shown) - MOST_ROWS} more (--all shows them)"))
    return Group(*parts)


def _cells(states: Sequence[RunState]) -> Table:
    cells: dict[tuple[str, str], Counter[str]] = {}
    for it in states:
        place = (it.row["pair"] or "teachers", it.row["label"] if it.row["pair"] else "")
        cells.setdefault(place, Counter())[it.state] += 1
    table = Table("pair", "method", "done", "", box=None, pad_edge=False)
    for (pair, label), found in cells.items():
        rest = ", ".join(f"{n} {state}" for state, n in found.items() if state != "finished")
        done = f"{found['finished']}/{found.total()}"
        table.add_row(*map(Text, (pair, label, done, rest)))
    return table
