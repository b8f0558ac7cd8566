"""What of this machine a process may use: cores, memory and GPUs, limits of containers included."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")
Accelerator = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """What there is for this process and its children."""

    cores: int
    memory_bytes: int
    gpus: tuple[str, ...]  # as CUDA_VISIBLE_DEVICES names them

    @classmethod
    def here(cls, accelerator: Accelerator) -> Machine:
        """This machine, without its GPUs where they are not to be used."""
        return cls(cores(), memory_bytes(), gpus(accelerator))

    def __str__(self) -> str:
        gpus = {0: "no GPU", 1: "1 GPU"}.get(len(self.gpus), f"{len(self.gpus)} GPUs")
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{cores}, {self.memory_bytes / 1e9:.1f} GB and {gpus}"


def cores(proc: Path = PROC, root: Path = CGROUPS) -> int:
    """Cores that this process may run on, of a container those that it gets the time of."""
    affinity = len(os.sched_getaffinity(0))
    quotas = [_cpu_quota(folder) for folder in _folders("cpu", proc, root)]
    return max(1, min([affinity, *(math.ceil(it) for it in quotas if it is not None)]))


def share_of_cores(processes: int) -> int:
    """Of the cores that this process may run on, when so many processes share them."""
    return max(1, cores() // processes)


def memory_bytes(proc: Path = PROC, root: Path = CGROUPS) -> int:
    """Memory of the machine, or what a container or a SLURM job may have of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = [
        _number(folder / name)
        for folder in _folders("memory", proc, root)
        for name in ("memory.max", "memory.limit_in_bytes")  # of versions 2 and 1
    ]
    return min([physical, *(int(it) for it in found if it is not None)])


def shared_memory_bytes(folder: Path = SHARED_MEMORY) -> int | None:
    """What is free of the memory through which processes hand tensors over; None: no limit known.

    Containers have 64 MB of it unless told otherwise.
    """
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def gpus(accelerator: Accelerator) -> tuple[str, ...]:
    """The GPUs that CUDA shows to this process: numbers, UUIDs or names of parts (MIG)."""
    if accelerator == "cpu":
        return ()
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(str(number) for number in range(count))
    return tuple(name.strip() for name in visible.split(","))[:count]


def _folders(controller: str, proc: Path, root: Path) -> Iterator[Path]:
    """The control groups that this process is in, each inside the next."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        own = base / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _cpu_quota(folder: Path) -> float | None:
    """Cores' worth of time, None without a limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else float(quota) / float(period)
    except (OSError, ValueError):
        pass
    quota_us, period_us = (_number(folder / f"cpu.cfs_{it}_us") for it in ("quota", "period"))
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _number(file: Path) -> float | None:
    """None where there is no such file or no limit."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):  # ValueError: "max"
        return None
