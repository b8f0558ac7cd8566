"""Workers on this machine: processes that share one list of runs through claims."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from submitit import LocalExecutor

from suite.config import RunSpec, Runtime
from sweeps.snapshot import OURS
from sweeps.worker_job import WorkerJob, this_process

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
        gpus = _gpus(runtime)
        pool = LocalExecutor(folder=runtime.runs_root / "jobs" / "%j", python=_python())
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            jobs = []
            for number in numbers:
                first = number * runtime.devices % len(gpus) if gpus else 0
                visible = gpus[first : first + runtime.devices]
                pool.update_parameters(
                    timeout_min=LOCAL_MINUTES,
                    tasks_per_node=runtime.devices,
                    gpus_per_node=len(visible),
                    visible_gpus=visible,
                )
                jobs.append(pool.submit(job))
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
    gpus = len(_gpus(runtime))
    return wanted or (max(1, gpus // runtime.devices) if gpus else len(os.sched_getaffinity(0)))


def with_pack(runtime: Runtime, runs: int, workers: int) -> Runtime:
    """On a CPU no pack is so large that one worker trains while others have nothing left."""
    if runtime.pack != "auto" or _gpus(runtime):
        return runtime
    from suite.pack import AT_ONCE_ON_CPU

    fair = runs // (2 * workers)
    return runtime if fair >= AT_ONCE_ON_CPU else runtime.model_copy(update={"pack": max(1, fair)})


def _gpus(runtime: Runtime) -> list[int]:
    import torch

    if runtime.accelerator == "cpu":
        return []
    return list(range(torch.cuda.device_count()))
