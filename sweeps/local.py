"""Workers on this machine: processes that share one list of runs through claims."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from submitit import LocalExecutor

from suite.config import RunSpec, Runtime
from sweeps.worker import Job, this_process

LOCAL_MINUTES = 60 * 24 * 365  # submitit wants a limit; local workers have none
STOP_SECONDS = 60.0  # for a worker to save and leave
POLL_SECONDS = 0.3


@dataclass(frozen=True)
class LocalWorkers:
    """Started worker processes."""

    jobs: Sequence[Any]
    farewell = "stopping: the runs save and leave; the same command goes on from there"

    @classmethod
    def start(
        cls, specs: Sequence[RunSpec], runtime: Runtime, since: float, workers: int | None
    ) -> LocalWorkers:
        """One worker per core or per device, unless ``workers`` says otherwise.

        The workers ignore the terminal's interrupt, which would hit them in the middle of a step:
        the launcher catches it and asks them to save and leave. They stop with the launcher.
        """
        gpus = _gpus(runtime)
        cores = len(os.sched_getaffinity(0))
        count = min(
            workers or (max(1, len(gpus) // runtime.devices) if gpus else cores), len(specs)
        )
        if runtime.threads is None and not gpus:
            runtime = runtime.model_copy(update={"threads": max(1, cores // count)})
        job = Job.of(specs, runtime, since, launcher=this_process())
        pool = LocalExecutor(folder=runtime.runs_root / "jobs" / "%j")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            jobs = []
            for number in range(count):
                first = number * runtime.devices % len(gpus) if gpus else 0
                visible = gpus[first : first + runtime.devices]
                pool.update_parameters(
                    timeout_min=LOCAL_MINUTES, gpus_per_node=len(visible), visible_gpus=visible
                )
                jobs.append(pool.submit(job))
        finally:
            signal.signal(signal.SIGINT, before)
        return cls(jobs)

    def done(self) -> bool:
        """Whether every worker has left."""
        return all(job.done() for job in self.jobs)

    def stop(self) -> None:
        """Ask the workers to save and leave, and wait for them."""
        for job in self.jobs:
            if not job.done():
                job._process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not self.done() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _gpus(runtime: Runtime) -> list[int]:
    import torch

    if runtime.accelerator == "cpu":
        return []
    return list(range(torch.cuda.device_count()))
