"""What a submitit job calls: a worker, with the signals that stop it.

Imports torch late: a job must be ready for signals soon after its start.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from suite.store.claims import EXPIRY_SECONDS, is_alive, process_started
from sweeps.slurm import jobs
from sweeps.workers.crew import Crew

if TYPE_CHECKING:
    from suite.config import RunSpec, Runtime
    from sweeps.workers.worker import Announce

PATIENCE_SECONDS = 1.5 * EXPIRY_SECONDS  # a SLURM job waits so long for the claims of the dead
STOPPED = 128 + signal.SIGTERM  # exit status of a worker that was asked to stop
log = logging.getLogger(__name__)


class RunsUnfinished(RuntimeError):
    """Some runs of a job are not finished; SLURM then calls the job failed."""


@dataclass
class WorkerJob:
    """What one submitit job calls: a worker over its runs of a sweep, picklable."""

    specs: list[str]  # RunSpec as JSON
    runtime: str  # Runtime as JSON
    since: float
    launcher: tuple[int, str | None] | None = None  # local workers stop with their launcher
    gpus: tuple[str, ...] | None = None  # names that CUDA knows; None: whatever is visible
    _stop: bool = field(default=False, init=False)
    _requeue_asked: bool = field(default=False, init=False)
    _crew: Crew = field(init=False)  # made in the job

    @classmethod
    def of(
        cls,
        specs: Sequence[RunSpec],
        runtime: Runtime,
        since: float,
        launcher: tuple[int, str | None] | None = None,
    ) -> WorkerJob:
        """The job of a worker for these runs."""
        texts = [spec.model_dump_json() for spec in specs]
        return cls(texts, runtime.model_dump_json(), since, launcher)

    def __call__(self) -> None:
        """Work until nothing is left.

        A job that was stopped leaves by SystemExit: had it returned, submitit would write a
        result and take the job for finished for ever, also after SLURM has requeued it.
        """
        requeue = self._install_signals()
        if self.gpus is not None:  # before CUDA starts; submitit knows numbers alone
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        from submitit import JobEnvironment

        from suite.config import Runtime

        environment = JobEnvironment()
        slurm_id = environment.job_id if environment.cluster == "slurm" else None
        runtime = Runtime.model_validate_json(self.runtime)
        self._crew = crew = Crew(runtime, environment)
        if crew.leads:
            self._lead(runtime, slurm_id)
        else:
            crew.follow(runtime, self._should_stop)
        if self._stop:
            self._leave(slurm_id if crew.leads else None, requeue)
        if crew.leads and (slurm_id is not None or crew.broken):
            self._check_finished(runtime.runs_root)
        self._ignore_signals()

    def checkpoint(self) -> Any:
        """submitit asks for the job to requeue: the same work, from the runs' checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self))

    def _lead(self, runtime: Runtime, slurm_id: str | None) -> None:
        from suite.train.run import Interrupted
        from sweeps.workers.worker import mirror

        try:
            with mirror(runtime) as announce:
                self._work(runtime, announce, slurm_id)
        except Interrupted as stop:
            log.info("%s", stop)
        self._crew.dismiss()

    def _work(self, runtime: Runtime, announce: Announce, slurm_id: str | None) -> None:
        from suite.train.run import run_packed
        from sweeps.workers.worker import Worker

        worker = Worker(
            self._specs(), runtime, self.since, self._should_stop, self._train, announce, slurm_id
        )
        if runtime.devices * runtime.nodes == 1:
            worker.run_packed = run_packed
        if slurm_id is not None:
            worker.patience_seconds = PATIENCE_SECONDS
        worker.work()

    def _train(self, spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool]) -> None:
        self._crew.run(spec, runtime, should_stop)

    def _specs(self) -> list[RunSpec]:
        from suite.config import RunSpec

        return [RunSpec.model_validate_json(text) for text in self.specs]

    def _check_finished(self, runs_root: Path) -> None:
        """Raise :class:`RunsUnfinished` if the job leaves work behind."""
        from suite.store.states import directory_of

        specs = self._specs()
        left = [spec for spec in specs if not directory_of(spec, runs_root).finished()]
        if left:
            names = ", ".join(f"{spec.experiment}/{spec.run_id}" for spec in left)
            raise RunsUnfinished(f"{len(left)} of {len(specs)} runs are not finished: {names}")

    def _install_signals(self) -> Any:
        """USR2 (preemption, time limit) stops and requeues; TERM stops. Returns submitit's own."""

        def on_term(*_: object) -> None:
            self._stop = True

        def on_usr2(*_: object) -> None:
            self._stop = self._requeue_asked = True

        signal.signal(signal.SIGTERM, on_term)
        return signal.signal(signal.SIGUSR2, on_usr2)

    def _ignore_signals(self) -> None:
        """What is done stays done: a signal that comes now must not make it a failure.

        As the interpreter ends it gives signals back their default action, which ends the process;
        SLURM would call the job failed and cancel what depends on it. Ignored ones stay ignored.
        """
        for one in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(one, signal.SIG_IGN)

    def _should_stop(self) -> bool:
        if self.launcher is not None and not is_alive(*self.launcher):
            self._stop = True
        return self._stop or self._crew.broken

    def _leave(self, slurm_id: str | None, requeue: Any) -> NoReturn:
        """End the process after a stop, back into SLURM's queue where that is wanted.

        A TERM may be a notice that the job will be preempted; then it still counts as running. If
        somebody cancelled or requeued the job, SLURM has said so before it sent the signal.
        """
        preempted = self._requeue_asked
        if slurm_id is not None and not preempted:
            preempted = jobs.state(slurm_id) == "RUNNING"
        if preempted and callable(requeue):
            requeue(signal.SIGUSR2, None)
        raise SystemExit(STOPPED)


def this_process() -> tuple[int, str | None]:
    """Identity of the calling process, for :attr:`WorkerJob.launcher`."""
    return os.getpid(), process_started(os.getpid())
