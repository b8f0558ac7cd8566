"""What a submitit job of a search calls: a worker over its queue, with the signals that stop it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.workers.worker_job import WorkerJob

if TYPE_CHECKING:
    from suite.config import Runtime
    from sweeps.workers.worker import Announce

SLURM_POLL_SECONDS = 5.0
"""On a shared file system many workers ask at the same time."""


@dataclass
class QueueJob(WorkerJob):
    """A worker that takes what it finds in the queue of ``search``."""

    search: str = ""

    @classmethod
    def of_search(
        cls, search: str, runtime: Runtime, launcher: tuple[int, str | None] | None = None
    ) -> QueueJob:
        """The job of a worker of this search."""
        return cls([], runtime.model_dump_json(), 0.0, launcher, search=search)

    def _work(self, runtime: Runtime, announce: Announce, slurm_id: str | None) -> None:
        from sweeps.search.queue import Queue
        from sweeps.search.worker import QueueWorker

        queue = Queue(runtime.runs_root, self.search)
        worker = QueueWorker(queue, runtime, self._should_stop, self._train, announce, slurm_id)
        if slurm_id is not None:
            worker.poll_seconds = worker.longest_poll_seconds = SLURM_POLL_SECONDS
        worker.work()

    def _check_finished(self, runs_root: Path) -> None:
        """Nothing: what this worker leaves, another finds in the queue."""
