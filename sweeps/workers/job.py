"""What one worker does from its start to its end, in one process or in each of its ranks.

Imports torch late: a job must be ready for signals soon after its start.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from suite.loading import loading
from sweeps.workers.ranks import ProcessGroup, Rank
from sweeps.workers.source import Work

if TYPE_CHECKING:
    from suite.config import Runtime

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class RanksBroken(RuntimeError):
    """A run failed that several ranks trained; they cannot go on together."""


@dataclass(frozen=True)
class Job:
    """A worker: what it trains, and how. Small and picklable; an executor starts it somewhere."""

    work: Work
    runtime: str  # Runtime as JSON

    @classmethod
    def of(cls, work: Work, runtime: Runtime) -> Job:
        """The job of each worker of ``work``."""
        return cls(work, runtime.model_dump_json())

    def run(
        self,
        should_stop: Callable[[], bool],
        rank: Rank,
        scheduler_id: str | None = None,
    ) -> list[str]:
        """Train until nothing is left, or until ``should_stop()`` and what trains is saved.

        ``scheduler_id`` is the job's id in a scheduler that may start it again. Returns the runs
        that the first rank leaves unfinished. Raises :class:`RanksBroken`.
        """
        with loading():
            import suite.train.run  # noqa: F401  (what the first run needs)
            from suite.config import Runtime
            from sweeps.workers.worker import Worker, uploading

        runtime = Runtime.model_validate_json(self.runtime)
        group = ProcessGroup(runtime, rank)

        def stop() -> bool:
            return should_stop() or group.broken

        if rank.number != 0:
            group.follow(runtime, stop)
            group.close()
            return []
        with uploading(runtime) as announce:
            source = self.work.open(runtime, scheduler_id)
            Worker(source, runtime, stop, group.train, announce, scheduler_id).work()
        group.dismiss()
        group.close()
        if group.broken:
            raise RanksBroken("a run failed that several processes trained; its log says why")
        return self.work.unfinished(runtime.runs_root)


class StopSignals:
    """TERM and USR2 ask a job to save and leave; made first of all, so that none is missed."""

    def __init__(self) -> None:
        self.received: set[int] = set()
        self.previous = {number: signal.signal(number, self._receive) for number in STOP_SIGNALS}

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return bool(self.received)

    def ignore(self) -> None:
        """Ignore signals from now on: the work is done, and a late one must not make it a failure.

        As the interpreter ends it gives signals back their default action, which ends the process;
        SLURM would call the job failed and cancel what depends on it. Ignored ones stay ignored.
        """
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, _: object) -> None:
        self.received.add(number)
