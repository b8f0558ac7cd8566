"""What an executor is, for sweeps and searches alike; ``docs/extending.md`` adds one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from suite.config import RunSpec
from sweeps.workers.source import Work


@dataclass(frozen=True)
class ExecutorOptions:
    """Which executor, and what a user may ask of it."""

    executor: str = "auto"
    jobs: int | None = None
    """Workers (or a scheduler's jobs) at a time; None: as many as fit."""
    cluster: Path | None = None
    """YAML with what a SLURM job asks for."""
    detach: bool = False
    """The launcher leaves once the work is handed over."""
    finalize: Callable[[], None] | None = None
    """What a scheduler does after all runs, since no launcher may be there; picklable."""


class Workers(Protocol):
    """Workers that have been started."""

    started: str
    """A line on them; empty when there is nothing to say."""
    farewell: str
    """What an interrupted user is told."""

    def attend(self) -> None:
        """Called repeatedly while there is work: waits a little, replaces workers that are gone.

        Raises :class:`suite.interface.errors.UserError` when they die again and again.
        """

    def done(self) -> bool:
        """Whether every worker has left."""

    def close(self) -> None:
        """Nothing is left to train."""

    def stop(self) -> None:
        """The caller leaves early; returns when workers that need the caller have saved."""

    def cancel(self) -> None:
        """Stop all training: what has not begun is withdrawn, what trains saves."""

    def outcomes(self) -> Mapping[str, str]:
        """``<experiment>/<run id>`` -> how its job ended, where the run store does not say."""


class Executor(Protocol):
    """A place for workers, made as ``Factory(runtime, options)`` for one command."""

    detaches: bool
    """Whether its workers go on when the launcher is gone."""

    def check(self) -> None:
        """Raise :class:`suite.interface.errors.UserError` for what it cannot carry out."""

    def parallel(self) -> int:
        """How many runs may train at a time."""

    def device_bytes(self) -> int | None:
        """Memory of the device that trains a run; None where only the workers will know."""

    def outlook(self, specs: Sequence[RunSpec]) -> str:
        """One line for ``--dry-run`` on how it would train the runs."""

    def start(self, work: Work, look: Callable[[], object]) -> Workers:
        """Start the work. One that trains in the caller's process calls ``look`` regularly."""


def last_words(log: Path) -> str:
    """The last line of a worker's log, or where the log would be."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return f"no log {log}"
    written = [line.strip() for line in lines if line.strip()]
    from_worker = [line for line in written if not line.startswith(("srun: ", "slurmstepd: "))]
    return f"{from_worker[-1][:300]} ({log})" if from_worker else f"{log} is empty"
