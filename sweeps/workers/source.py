"""Where a worker takes its runs from: a list that workers share, or the queue of a search."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from suite.store.lease import EXPIRY_SECONDS
from suite.store.states import TRAINABLE, State, directory_of, state_of

if TYPE_CHECKING:  # a job is unpickled before it imports torch
    from suite.config import RunSpec, Runtime

PATIENCE_SECONDS = 1.5 * EXPIRY_SECONDS
"""How long a scheduler's job waits for leases of dead workers before it leaves."""


class Source(Protocol):
    """Asked by one worker, again and again."""

    def ready(self, idle_seconds: float) -> list[list[RunSpec]] | None:
        """Groups of runs that can train now, in order; None when the worker may leave.

        ``idle_seconds`` ago the worker trained something.
        """

    def drop(self, spec: RunSpec) -> None:
        """Do not offer this run again: it has failed in this worker."""

    def wants(self, specs: Sequence[RunSpec]) -> bool:
        """Whether these runs should go on training; asked after every optimizer step."""


class Work(Protocol):
    """What all workers of one call do; small and picklable."""

    @property
    def experiment(self) -> str:
        """Its folder in the run store."""

    @property
    def size(self) -> int | None:
        """Number of runs; None: runs keep coming, and workers that are gone are replaced."""

    def open(self, runtime: Runtime, job: str | None) -> Source:
        """The source of one worker; ``job`` is its id in a scheduler, None without one."""

    def unfinished(self, runs_root: Path) -> list[str]:
        """Runs that are not finished; a worker that leaves any has failed."""


@dataclass(frozen=True)
class RunList:
    """Runs of a sweep: all of them for local workers, a few for each SLURM job."""

    experiment: str
    runs: tuple[str, ...]  # RunSpec as JSON
    since: float  # failures before this time do not count

    @classmethod
    def of(cls, experiment: str, specs: Sequence[RunSpec], since: float) -> RunList:
        """The list of these runs."""
        return cls(experiment, tuple(spec.model_dump_json() for spec in specs), since)

    @property
    def size(self) -> int:
        """How many runs."""
        return len(self.runs)

    def specs(self) -> list[RunSpec]:
        """The runs themselves."""
        from suite.config import RunSpec

        return [RunSpec.model_validate_json(text) for text in self.runs]

    def open(self, runtime: Runtime, job: str | None) -> SharedList:
        """See :class:`Work`."""
        patience = math.inf if job is None else PATIENCE_SECONDS
        return SharedList(self.specs(), runtime, self.since, patience)

    def unfinished(self, runs_root: Path) -> list[str]:
        """See :class:`Work`."""
        left = [spec for spec in self.specs() if not directory_of(spec, runs_root).finished()]
        return [f"{spec.experiment}/{spec.run_id}" for spec in left]


class SharedList:
    """The runs of a list that this worker may still train; others train them too."""

    def __init__(
        self, specs: Sequence[RunSpec], runtime: Runtime, since: float, patience_seconds: float
    ) -> None:
        self._open = list(specs)
        self._runtime, self._since, self._patience = runtime, since, patience_seconds

    def ready(self, idle_seconds: float) -> list[list[RunSpec]] | None:
        """None once nothing is left to train or to wait for, or to wait for so long."""
        runs_root = self._runtime.runs_root
        states = {spec: state_of(spec, runs_root, self._since) for spec in self._open}
        self._open = [spec for spec, state in states.items() if state is not State.FINISHED]
        ready = [spec for spec, state in states.items() if state in TRAINABLE]
        waits = {State.RUNNING, State.WAITING} & set(states.values())
        if (not ready and not waits) or idle_seconds > self._patience:
            return None
        return list(side_by_side(ready, self._runtime))

    def drop(self, spec: RunSpec) -> None:
        """See :class:`Source`."""
        self._open.remove(spec)

    def wants(self, specs: Sequence[RunSpec]) -> bool:
        """Always."""
        return True


def side_by_side(specs: Sequence[RunSpec], runtime: Runtime) -> Iterator[list[RunSpec]]:
    """Groups of runs that train in one process: those that can share a pack, as many as may."""
    from suite.train.pack import at_once, shared

    groups: dict[Hashable, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(shared(spec.config), []).append(spec)
    for group in groups.values():
        size = at_once(group[0].config, runtime)
        yield from (group[first : first + size] for first in range(0, len(group), size))
