"""Workers on a SLURM cluster: one array of jobs that share a list of runs through claims."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError

from suite.config import Closed, RunSpec, Runtime, parse
from suite.errors import UserError
from sweeps import files
from sweeps.worker import Job

ASK_SECONDS = 15.0  # between questions to SLURM's accounting
SIGNAL_SECONDS = 120  # before the time limit the job saves and asks to be requeued
REQUEUES = 1000
OWN_CLUSTER = Path("~/.config/dskd-bench/cluster.yaml")


class Cluster(Closed):
    """What a job asks for; ``sweeps/clusters/default.yaml`` explains the fields."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: int = Field(1, ge=0)
    cpus: int = Field(4, ge=1)
    memory_gb: int = Field(16, ge=1)
    minutes: int = Field(240, ge=15)
    """At least 15: submitit takes shorter jobs for timed out when they are preempted."""
    max_jobs: int = Field(32, ge=1)
    runs_per_job: int = Field(4, ge=1)
    setup: list[str] = []
    extra: dict[str, Any] = {}

    @classmethod
    def load(cls, path: Path | None) -> Cluster:
        """``path``, else the user's own file, else the one that ships."""
        own = OWN_CLUSTER.expanduser()
        chosen = path or (own if own.is_file() else None)
        if chosen is None:
            return parse(cls, files.read("clusters", "default"), "cluster default")
        try:
            text = chosen.read_text()
        except OSError as error:
            raise UserError(f"cluster file {chosen}: {error.strerror}") from None
        return parse(cls, files.parse_yaml(text, str(chosen)), f"cluster {chosen}")

    def sbatch(self, runtime: Runtime) -> dict[str, Any]:
        """Parameters of submitit's SlurmExecutor."""
        gpus = 0 if runtime.accelerator == "cpu" else self.gpus
        wanted = {
            "job_name": "dskd-bench",
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "gpus_per_node": gpus or None,
            "cpus_per_task": self.cpus,
            "mem": f"{self.memory_gb}GB",
            "time": self.minutes,
            "signal_delay_s": SIGNAL_SECONDS,
            "array_parallelism": self.max_jobs,
            "setup": self.setup or None,
            "additional_parameters": self.extra or None,
            "stderr_to_stdout": True,
        }
        return {key: value for key, value in wanted.items() if value is not None}


def available() -> bool:
    """Whether this machine can submit to a SLURM whose controller answers."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return " UP" in ping.stdout


@dataclass
class SlurmWorkers:
    """A submitted array."""

    jobs: Sequence[Any]
    farewell = "the jobs go on in SLURM; the same command watches them again"
    _asked: float = 0.0
    _done: bool = False

    @classmethod
    def start(
        cls,
        specs: Sequence[RunSpec],
        runtime: Runtime,
        since: float,
        workers: int | None,
        cluster: Cluster,
    ) -> SlurmWorkers:
        """Submit one array with one sbatch; a job trains ``runs_per_job`` runs or so."""
        count = min(workers or math.ceil(len(specs) / cluster.runs_per_job), cluster.max_jobs)
        runtime = runtime.model_copy(
            update={
                "runs_root": runtime.runs_root.resolve(),
                "data_root": runtime.data_root.resolve(),
                "threads": runtime.threads or cluster.cpus,
            }
        )
        job = Job.of(specs, runtime, since)
        pool = SlurmExecutor(folder=runtime.runs_root / "jobs" / "%j", max_num_timeout=REQUEUES)
        pool.update_parameters(**cluster.sbatch(runtime))
        try:
            with pool.batch():
                jobs = [pool.submit(job) for _ in range(min(count, len(specs)))]
        except FailedJobError as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"SLURM refused the jobs: {reason[-300:]}; say what your cluster allows in a file "
                "given with --cluster (see sweeps/clusters/default.yaml), or use --executor local"
            ) from None
        return cls(jobs)

    def done(self) -> bool:
        """Whether every job has left SLURM; asks at most every few seconds."""
        if not self._done and time.monotonic() - self._asked > ASK_SECONDS:
            self._asked = time.monotonic()
            self._done = all(job.done(force_check=True) for job in self.jobs)
        return self._done

    def stop(self) -> None:
        """Nothing: the launcher may leave, the jobs go on."""
