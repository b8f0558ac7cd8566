"""How far an experiment is, from the run store and SLURM alone: the launcher may be long gone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from suite.interface.errors import UserError
from suite.store.states import State
from sweeps.plan.manifest import manifest_path
from sweeps.slurm import jobs
from sweeps.watch.board import Board

WATCH_SECONDS = 5.0
IDLE_LOOKS = 3  # watching ends when nothing is busy so many times in a row
BUSY = {State.RUNNING, State.QUEUED}


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
    board = Board(_manifest(experiment, settings, runs_root))
    if not watch:
        console.print(board.table(everything=everything))
        return
    idle = 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(board.table(everything=everything), refresh=True)
            idle = 0 if BUSY & board.states() else idle + 1
            if idle == IDLE_LOOKS or board.states() <= {State.FINISHED}:
                return
            time.sleep(WATCH_SECONDS)
            board.refresh()


def cancel(experiment: str, settings: Sequence[str], runs_root: Path) -> int:
    """Take the experiment's jobs out of SLURM's queue; running ones save first. Returns how many.

    Raises :class:`UserError` when no sweep has begun or SLURM does not answer.
    """
    manifest = _manifest(experiment, settings, runs_root)
    queued = jobs.still_queued(jobs.read(runs_root, manifest.parent.name))
    jobs.cancel(queued)
    return len(queued)


def _manifest(experiment: str, settings: Sequence[str], runs_root: Path) -> Path:
    path = manifest_path(experiment, settings, runs_root)
    if path.is_file():
        return path
    from sweeps.plan import files

    files.source("experiments", experiment)  # raises for an unknown name
    overrides = f" with {' '.join(settings)!r}" if settings else ""
    raise UserError(f"experiment {experiment!r}{overrides} has not been started in {runs_root}")
