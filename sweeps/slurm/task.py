"""What submitit calls in a SLURM job: a worker over the verified copy of the code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from suite.ending import QuickExit
from sweeps.slurm import jobs
from sweeps.slurm.snapshot import Snapshot
from sweeps.workers.job import Job, StopSignals
from sweeps.workers.ranks import Rank

STOPPED = 128 + signal.SIGTERM  # exit status of a job that was asked to stop


class RunsUnfinished(RuntimeError):
    """Some runs of a job are not finished; SLURM then calls the job failed."""


@dataclass(frozen=True)
class Task:
    """Picklable; USR2 (preemption, time limit) requeues it, TERM stops it."""

    job: Job
    code: Snapshot

    def __call__(self) -> None:
        """Work until nothing is left.

        A job that was stopped leaves by SystemExit: had it returned, submitit would write a
        result and take the job for finished for ever, also after SLURM has requeued it.
        """
        stop, end = StopSignals(), QuickExit()
        self.code.verify()
        environment = JobEnvironment()
        rank = Rank(environment.global_rank, environment.local_rank)
        left = self.job.run(stop, rank, environment.job_id)
        if stop():
            self._leave(environment, stop)
        if left:
            raise RunsUnfinished(f"{len(left)} runs are not finished: {', '.join(left)}")
        stop.ignore()
        end.allow()

    def checkpoint(self) -> Any:
        """submitit asks for the job to requeue: the same work, from the runs' checkpoints."""
        return DelayedSubmission(self)

    def _leave(self, environment: JobEnvironment, stop: StopSignals) -> NoReturn:
        """End the process after a stop, back into SLURM's queue where that is wanted.

        A TERM may be a notice that the job will be preempted; then it still counts as running. If
        somebody cancelled or requeued the job, SLURM has said so before it sent the signal.
        """
        preempted = signal.SIGUSR2 in stop.received
        if not preempted and environment.global_rank == 0:
            preempted = jobs.state(environment.job_id) == "RUNNING"
        requeue = stop.previous[signal.SIGUSR2]  # submitit's
        if preempted and callable(requeue):
            requeue(signal.SIGUSR2, None)
        raise SystemExit(STOPPED)


@dataclass(frozen=True)
class Once:
    """Something else to do from the verified copy of the code; picklable."""

    action: Callable[[], None]
    code: Snapshot

    def __call__(self) -> None:
        """Verify, then do it."""
        end = QuickExit()
        self.code.verify()
        self.action()
        end.allow()
