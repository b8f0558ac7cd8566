"""How far an experiment is, from the run store alone: the launcher may be long gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from suite.record import read_json, read_rows
from sweeps.expand import Plan, expand
from sweeps.view import accuracy
from sweeps.worker import State, directory_of, state_of

WATCH_SECONDS = 2.0
STYLE = {State.FINISHED: "green", State.FAILED: "red", State.RUNNING: "cyan"}


def status(
    experiment: str,
    settings: Sequence[str],
    runs_root: Path,
    *,
    console: Console,
    watch: bool = False,
) -> None:
    """Print a line per run: state, epoch, accuracy, or why it failed. ``watch`` stays."""
    plan = expand(experiment, settings)
    if not watch:
        console.print(_table(plan, runs_root))
        return
    with Live(_table(plan, runs_root), console=console) as live:
        while any(state_of(s, runs_root, 0.0) is not State.FINISHED for s in plan.runs):
            time.sleep(WATCH_SECONDS)
            live.update(_table(plan, runs_root))


def _table(plan: Plan, runs_root: Path) -> Table:
    states = {spec: state_of(spec, runs_root, 0.0) for spec in plan.runs}
    done = sum(state is State.FINISHED for state in states.values())
    table = Table(
        "run", "method", "student", "seed", "state", "epoch", "accuracy", box=None, pad_edge=False
    )
    table.title = f"{plan.experiment}: {done} of {len(states)} runs finished"
    for spec, state in states.items():
        directory = directory_of(spec, runs_root)
        rows = read_rows(directory.metrics)
        epoch = f"{rows[-1]['epoch'] if rows else 0}/{spec.config.train.epochs}"
        note = accuracy(rows)
        if state is State.FAILED:
            note = str((read_json(directory.failure) or {}).get("error", "unknown reason"))
        name = f"[{STYLE.get(state, 'default')}]{state.value}[/]"
        seed, student = str(spec.config.seed), spec.config.student.name
        table.add_row(spec.run_id, spec.label, student, seed, name, epoch, note)
    return table
