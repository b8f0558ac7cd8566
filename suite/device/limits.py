"""Numbers of processes and threads against what a machine has, before any of them is started."""

from __future__ import annotations

from suite.config import Runtime
from suite.device.machine import Machine
from suite.interface.errors import UserError

PROCESSES_PER_CORE = 4
"""Training processes. One a core is the default; some more wait for each other without harm."""
PROCESSES_PER_GPU = 4
LOADERS_PER_CORE = 4
"""Data-loading processes of one run, which wait for the disk too."""
PROCESS_BYTES = 700 * 10**6
"""Least memory of a training process: the digits take 0.6 to 0.85 GB, of which libraries that the
processes share are a part."""


def most_processes(machine: Machine) -> int:
    """How many training processes the machine carries."""
    most = min(PROCESSES_PER_CORE * machine.cores, machine.memory_bytes // PROCESS_BYTES)
    if machine.gpus:
        most = min(most, PROCESSES_PER_GPU * len(machine.gpus))
    return max(1, most)


def default_jobs(runtime: Runtime, machine: Machine) -> int:
    """How many runs at a time: one per core or per GPU, as far as memory goes."""
    units = len(machine.gpus) or machine.cores
    return max(1, min(units, most_processes(machine)) // runtime.devices)


def check(runtime: Runtime, jobs: int | None, machine: Machine | None = None) -> None:
    """Raise :class:`UserError` for the first number that is too large for this machine.

    ``jobs`` runs train at a time, each in ``devices`` processes; None: as many as fit.
    """
    check_jobs(jobs)
    machine = machine or Machine.here(runtime.accelerator)
    if runtime.accelerator == "cuda" and not machine.gpus:
        raise UserError("--accelerator cuda: this machine has no GPU; allowed: auto, cpu")
    most = most_processes(machine)
    devices = min(most, len(machine.gpus)) if machine.gpus else most
    _require("--devices", runtime.devices, devices, machine, "" if machine.gpus else WHY)
    _require("--jobs", jobs or 1, max(1, most // runtime.devices), machine, WHY)
    _require("--threads", runtime.threads or 1, machine.cores, machine)
    _require("--workers", runtime.workers or 0, LOADERS_PER_CORE * machine.cores, machine)


def check_jobs(jobs: int | None) -> None:
    """Raise :class:`UserError` for a number of jobs below one."""
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: must be at least 1")


WHY = (
    f" ({PROCESSES_PER_CORE} processes a core, {PROCESSES_PER_GPU} a GPU, "
    f"{PROCESS_BYTES / 1e9:.1f} GB each)"
)


def _require(option: str, value: int, most: int, machine: Machine, why: str = "") -> None:
    if value > most:
        raise UserError(f"{option} {value}: this machine has {machine}; allowed: 1 to {most}{why}")
