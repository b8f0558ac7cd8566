"""Workers on this machine: processes that share one list of runs through claims."""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from submitit import LocalExecutor

from suite.config import RunSpec, Runtime
from suite.device import limits, machine
from suite.device.machine import Machine
from sweeps.slurm.private import private
from sweeps.slurm.snapshot import OURS
from sweeps.workers.worker_job import WorkerJob, this_process

LOCAL_MINUTES = 60 * 24 * 365  # submitit wants a limit; local workers have none
STOP_SECONDS = 60.0  # for a worker to save and leave


@dataclass(frozen=True)
class LocalWorkers:
    """Started worker processes."""

    jobs: Sequence[Any]
    poll_seconds = 0.3
    farewell = "stopping: the runs save and leave; the same command goes on from there"

    @classmethod
    def start(
        cls, specs: Sequence[RunSpec], runtime: Runtime, since: float, workers: int | None
    ) -> LocalWorkers:
        """One worker per core or per device, unless ``workers`` says otherwise.

        The workers ignore the terminal's interrupt, which would hit them in the middle of a step:
        the launcher catches it and asks them to save and leave. They stop with the launcher.
        """
        count = min(workers_for(runtime, workers), len(specs))
        runtime = with_pack(runtime, len(specs), count)
        return cls.spawn(WorkerJob.of(specs, runtime, since, this_process()), runtime, range(count))

    @classmethod
    def spawn(cls, job: WorkerJob, runtime: Runtime, numbers: Iterable[int]) -> LocalWorkers:
        """A process for each of these workers; the number says which devices it gets."""
        gpus = machine.gpus(runtime.accelerator)
        folder = private(runtime.runs_root / "jobs") / f"local-{secrets.token_hex(6)}"
        pool = LocalExecutor(folder=private(folder), python=_python())
        pool.update_parameters(timeout_min=LOCAL_MINUTES, tasks_per_node=runtime.devices)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            shares = [share(gpus, runtime.devices, number) for number in numbers]
            jobs = [pool.submit(replace(job, gpus=of_worker)) for of_worker in shares]
        finally:
            signal.signal(signal.SIGINT, before)
        return cls(jobs)

    def done(self) -> bool:
        """Whether every worker has left."""
        return all(job.done() for job in self.jobs)

    def close(self) -> None:
        """Nothing: workers leave when nothing is left for them."""

    def fates(self, specs: Sequence[RunSpec]) -> dict[RunSpec, str]:
        """Nothing is known beyond what the runs themselves say."""
        return {}

    def stop(self) -> None:
        """Ask the workers to save and leave, and wait for them."""
        for job in self.jobs:
            if not job.done():
                job._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not self.done() and time.monotonic() < deadline:
            time.sleep(self.poll_seconds)


def _python() -> str:
    """The command of this Python that imports the code of this process.

    ``python -m`` alone would look into the working folder first, where a user may have a package
    called ``suite`` or ``analysis``.
    """
    places = [str(OURS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return shlex.join(["env", f"PYTHONPATH={os.pathsep.join(places)}", sys.executable, "-P"])


def workers_for(runtime: Runtime, wanted: int | None) -> int:
    """How many workers this machine carries, unless somebody wants another number."""
    return wanted or limits.default_jobs(runtime, Machine.here(runtime.accelerator))


def share(gpus: Sequence[str], devices: int, number: int) -> tuple[str, ...]:
    """The GPUs of worker ``number``, ``devices`` of them; workers beyond the last share."""
    if not gpus:
        return ()
    first = number % max(1, len(gpus) // devices) * devices
    return tuple(gpus[first : first + devices])


def with_pack(runtime: Runtime, runs: int, workers: int) -> Runtime:
    """No pack is so large that one worker trains while others have nothing left.

    A worker on a CPU gets two packs or more, so that all end at about the same time; on a GPU one,
    since small packs leave most of the device idle.
    """
    from suite.train.pack import AT_ONCE_ON_CPU, AT_ONCE_ON_GPU

    gpus = machine.gpus(runtime.accelerator)
    packs, most = (1, AT_ONCE_ON_GPU) if gpus else (2, AT_ONCE_ON_CPU)
    fair = runs // (packs * workers)
    if runtime.pack != "auto" or fair >= most:
        return runtime
    return runtime.model_copy(update={"pack": max(1, fair)})
