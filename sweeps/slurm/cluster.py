"""What a SLURM job of a sweep asks for, from a small YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from suite.config import Closed, Runtime, parse
from suite.device import limits
from suite.interface.errors import UserError
from suite.yaml_input import load_mapping
from sweeps.plan import files

OWN = Path("~/.config/dskd-bench/cluster.yaml")
SIGNAL_SECONDS = 120  # before its time limit, a job is told to save and asks to be requeued


class Cluster(Closed):
    """``sweeps/clusters/default.yaml`` explains the fields."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: int = Field(1, ge=0)
    cpus: int = Field(4, ge=1)
    memory_gb: int = Field(16, ge=1)
    minutes: int = Field(240, ge=15)
    """At least 15: submitit takes shorter jobs for timed out as soon as they are preempted."""
    max_jobs: int = Field(32, ge=1)
    runs_per_job: int = Field(4, ge=1)
    share_jobs_with_group: bool = False
    """Whether members of the folder's group may come into ``runs/jobs`` and the copies of the code,
    so that several people submit over one run store. They can then run code as each other."""
    setup: list[str] = []
    extra: dict[str, Any] = {}

    @classmethod
    def load(cls, path: Path | None) -> Cluster:
        """``path``, else the user's own file, else the one that ships."""
        own = OWN.expanduser()
        chosen = path or (own if own.is_file() else None)
        if chosen is None:
            return parse(cls, files.read("clusters", "default"), "cluster default")
        return parse(cls, load_mapping(chosen, f"cluster file {chosen}"), f"cluster {chosen}")

    def sbatch(self, runtime: Runtime, setup: list[str], **further: Any) -> dict[str, Any]:
        """Parameters of submitit's SlurmExecutor; ``setup`` follows the user's own lines.

        ``further`` are options of sbatch that win over the cluster's.
        """
        several = runtime.devices * runtime.nodes > 1
        wanted = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "nodes": runtime.nodes,
            "ntasks_per_node": runtime.devices if several else None,
            "srun_args": ["--kill-on-bad-exit=1"] if several else None,
            "gpus_per_node": self.gpus_of(runtime) or None,
            "cpus_per_task": self.cpus,
            "mem": f"{self.memory_gb}GB",
            "time": self.minutes,
            "signal_delay_s": SIGNAL_SECONDS,
            "setup": [*self.setup, *setup],
            "stderr_to_stdout": True,
            # A job whose dependency can no longer be met would wait for ever.
            "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes"} | self.extra,
        }
        return {key: value for key, value in (wanted | further).items() if value is not None}

    def check(self, runtime: Runtime) -> None:
        """Raise :class:`UserError` for more threads or processes than a job has room for.

        The numbers of GPUs and nodes are left to SLURM.
        """
        most = {
            "--threads": (runtime.threads or 1, self.cpus),
            "--workers": (runtime.workers or 0, limits.LOADERS_PER_CORE * self.cpus),
            "--devices": (runtime.devices, self.memory_gb * 2**30 // limits.PROCESS_BYTES),
        }
        for option, (value, allowed) in most.items():
            if value > allowed:
                raise UserError(
                    f"{option} {value}: a job of the cluster file has {self.cpus} cpus a process "
                    f"and memory_gb {self.memory_gb}; allowed: at most {allowed}"
                )

    def gpus_of(self, runtime: Runtime) -> int:
        """GPUs of each node of a job."""
        return 0 if runtime.accelerator == "cpu" else max(self.gpus, runtime.devices)
