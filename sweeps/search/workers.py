"""The workers of a search, here or on SLURM: as many as wanted, replaced when they die."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from suite.config import Runtime
from suite.interface.errors import UserError
from sweeps.executors.local import LocalWorkers
from sweeps.executors.slurm import SlurmWorkers, last_line
from sweeps.search.queue import Queue
from sweeps.search.worker import QueueWorker
from sweeps.search.worker_job import QueueJob
from sweeps.slurm import jobs
from sweeps.slurm.cluster import Cluster
from sweeps.workers.worker import mirror
from sweeps.workers.worker_job import this_process

DEATHS = 5
"""A local worker is replaced so often; then something is wrong with the machine."""
SLURM_FAILURES = 2
"""So many jobs may fail for every one that SLURM runs at a time."""
TAKEN_AWAY = ("CANCELLED", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT", "REQUEUED")
"""States of jobs that ended for a reason outside of them."""
SLURM_SECONDS = 60.0
"""Between looks at how many jobs are left."""


class Workers(Protocol):
    """Whoever trains what lies in the queue."""

    poll_seconds: float
    farewell: str

    def keep(self) -> None:
        """Replace those that are gone."""

    def stop(self) -> None:
        """The driver leaves before the search is over."""


@dataclass
class LocalPool:
    """Processes on this machine. They stop with the driver."""

    search: str
    runtime: Runtime
    count: int
    poll_seconds = 0.1
    farewell = LocalWorkers.farewell

    def __post_init__(self) -> None:
        self._slots = [self._spawn(number) for number in range(self.count)]
        self._deaths = 0

    def keep(self) -> None:
        """Raises :class:`UserError` when workers die again and again."""
        for number, worker in enumerate(self._slots):
            if worker.done():
                self._deaths += 1
                if self._deaths > DEATHS * self.count:
                    raise UserError(
                        f"workers died {self._deaths} times; see {self.runtime.runs_root / 'jobs'}"
                    )
                self._slots[number] = self._spawn(number)

    def stop(self) -> None:
        """They save and leave."""
        LocalWorkers([job for worker in self._slots for job in worker.jobs]).stop()

    def _spawn(self, number: int) -> LocalWorkers:
        job = QueueJob.of_search(self.search, self.runtime, this_process())
        return LocalWorkers.spawn(job, self.runtime, [number])


@dataclass
class SlurmPool:
    """Jobs on a cluster. They outlive the driver for a while, and wait for the next one."""

    search: str
    runtime: Runtime
    cluster: Cluster
    poll_seconds = 2.0
    farewell = SlurmWorkers.farewell

    def __post_init__(self) -> None:
        first = self._have()
        self.submitted, self._jobs = first.submitted, first.jobs
        self._failures = 0
        self._looked = time.monotonic()

    def keep(self) -> None:
        """Submit what is missing. Raises :class:`UserError` when jobs fail again and again."""
        if time.monotonic() - self._looked > SLURM_SECONDS:
            before, self._looked = self._jobs, time.monotonic()
            self._jobs = self._have().jobs
            self._count_failures([job for job in before if job not in self._jobs])

    def _count_failures(self, gone: Sequence[jobs.Job]) -> None:
        """What was cancelled, preempted or lost with its node is no fault of the job."""
        states = jobs.ended(gone)
        failed = [job for job in gone if not states.get(job.id, "").startswith(TAKEN_AWAY)]
        self._failures += len(failed)
        if failed and self._failures > SLURM_FAILURES * self.cluster.max_jobs:
            last = failed[-1]
            raise UserError(
                f"{self._failures} jobs of the search failed, the last: job {last.id} "
                f"{states.get(last.id, 'ended')}: {last_line(self.runtime.runs_root, last.id)}"
            )

    def stop(self) -> None:
        """Nothing: what they train, they finish; idle ones leave."""

    def _have(self) -> SlurmWorkers:
        def job(runtime: Runtime) -> QueueJob:
            return QueueJob.of_search(self.search, runtime)

        return SlurmWorkers.keep(self.search, job, self.runtime, self.cluster)


class InProcess:
    """No worker at all: the driver's own process trains, and drives while it does."""

    poll_seconds = 0.0
    farewell = LocalWorkers.farewell

    def __init__(self, search: str, runtime: Runtime, step: Callable[[], object]) -> None:
        from suite.train.run import run

        self._mirror = mirror(runtime)
        announce = self._mirror.__enter__()
        self._step, self._stepped = step, time.monotonic()
        queue = Queue(runtime.runs_root, search)
        self._worker = QueueWorker(queue, runtime, self._drive, run, announce)

    def keep(self) -> None:
        """Train one run."""
        self._worker.train_next()

    def stop(self) -> None:
        """End the mirror."""
        self._mirror.__exit__(None, None, None)

    def _drive(self) -> bool:
        """Asked after every optimizer step: report and prune while the run trains."""
        if time.monotonic() - self._stepped > LocalPool.poll_seconds:
            self._step()
            self._stepped = time.monotonic()
        return False
