"""Workers on this machine: processes that share runs through leases."""

from __future__ import annotations

import os
import pickle
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from suite.config import RunSpec, Runtime
from suite.device import limits, machine
from suite.device.machine import Machine
from suite.interface.errors import UserError
from sweeps.executors.base import ExecutorOptions, Workers, last_words
from sweeps.slurm.cluster import Cluster
from sweeps.slurm.private import private
from sweeps.slurm.snapshot import OURS
from sweeps.workers.job import Job
from sweeps.workers.source import Work, side_by_side

POLL_SECONDS = 0.1
STOP_SECONDS = 60.0  # for a worker to save and leave
PARTING_SECONDS = 10.0
"""For the other ranks of a worker after one has failed: they may be in the middle of a sum over all
ranks, which on GPUs only its time-out would end, after ten minutes."""
DEATHS = 5
"""How often a worker is replaced before the machine is taken to be at fault."""
PORTS = range(20000, 30000)
"""Where the ranks of a worker meet."""


class Handle(Protocol):
    """One worker, for whoever started it."""

    @property
    def log(self) -> Path:
        """What it writes."""

    def done(self) -> bool:
        """Whether it has left."""

    def stop(self) -> None:
        """Ask it to save and leave."""


class Local:
    """As many workers as the machine carries. A subclass may start each of them elsewhere."""

    detaches = False

    def __init__(self, runtime: Runtime, options: ExecutorOptions) -> None:
        self.runtime, self.options = runtime, options

    def check(self) -> None:
        """Refuse more processes and threads than the machine carries, and what needs SLURM."""
        reason = f"needs SLURM: --executor is {self.options.executor} and here is none"
        if self.options.detach:
            raise UserError(f"--detach {reason}")
        if self.runtime.nodes > 1:
            raise UserError(f"--nodes {self.runtime.nodes} {reason}; allowed: 1")
        limits.check(self.runtime, self.options.jobs)
        if self.options.cluster is not None:
            Cluster.load(self.options.cluster)  # a fault is told also where nothing needs the file

    def parallel(self) -> int:
        """One worker per core or per device, unless the user wants another number."""
        machine_here = Machine.here(self.runtime.accelerator)
        return self.options.jobs or limits.default_jobs(self.runtime, machine_here)

    def device_bytes(self) -> int | None:
        """Memory of this machine's device."""
        from suite.device.memory import of_device
        from suite.train.build import device_of

        return of_device(device_of(self.runtime))

    def outlook(self, specs: Sequence[RunSpec]) -> str:
        """Numbers of workers and packs."""
        workers = min(self.parallel(), len(specs))
        groups = list(side_by_side(specs, with_pack(self.runtime, len(specs), workers)))
        largest = max(map(len, groups))
        return f"on this machine: {workers} workers, {len(groups)} packs of at most {largest} runs"

    def start(self, work: Work, look: Callable[[], object]) -> Workers:
        """Start processes that stop with the launcher."""
        count, runtime = self.parallel(), self.runtime
        if work.size is not None:
            count = min(count, work.size)
            runtime = with_pack(runtime, work.size, count)
        if runtime.workers is None:
            share = machine.share_of_cores(count * runtime.devices)
            runtime = runtime.model_copy(update={"workers": share})
        job = Job.of(work, runtime)
        logs = private(private(runtime.runs_root / "jobs") / f"local-{secrets.token_hex(6)}")
        return _Pool(lambda number: self.spawn(job, number, logs), count, work.size is None)

    def spawn(self, job: Job, number: int, logs: Path) -> Handle:
        """Start worker ``number``; its log goes into the folder ``logs``."""
        return start_process(job, self.runtime, number, logs)


class _Pool:
    """Workers that were started one by one."""

    started = ""
    farewell = "stopping: the runs save and leave; the same command goes on from there"

    def __init__(self, spawn: Callable[[int], Handle], count: int, lasting: bool) -> None:
        self._spawn, self._lasting = spawn, lasting
        self._workers = [spawn(number) for number in range(count)]
        self._deaths = 0

    def attend(self) -> None:
        time.sleep(POLL_SECONDS)
        for number, worker in enumerate(self._workers):
            if self._lasting and worker.done():
                self._deaths += 1
                if self._deaths > DEATHS * len(self._workers):
                    last_line = last_words(worker.log)
                    raise UserError(f"workers died {self._deaths} times; the last: {last_line}")
                self._workers[number] = self._spawn(number)

    def done(self) -> bool:
        return all(worker.done() for worker in self._workers)

    def close(self) -> None:
        """Workers leave when nothing is left for them."""

    def stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + STOP_SECONDS
        while not self.done() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    cancel = stop

    def outcomes(self) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True)
class Processes:
    """A worker in processes of this machine, one for each rank."""

    ranks: tuple[subprocess.Popen[bytes], ...]
    log: Path
    _failed: list[float] = field(default_factory=list)  # when a rank was first seen to have failed

    def done(self) -> bool:
        """Whether all have left; where one has failed, the others are soon made to."""
        left = [rank.poll() for rank in self.ranks]
        if None in left and any(left):
            self._failed.append(time.monotonic())
            if self._failed[-1] - self._failed[0] > PARTING_SECONDS:
                for rank in self.ranks:
                    rank.kill()  # nothing, once it has left
        return None not in left

    def stop(self) -> None:
        """Those that are there save and leave."""
        for rank in self.ranks:
            rank.terminate()  # does nothing once it has left


def start_process(
    job: Job, runtime: Runtime, number: int, logs: Path, before: Sequence[str] = ()
) -> Processes:
    """Start a worker; ``number`` says which GPUs it gets, ``before`` goes before the command."""
    path, log = logs / f"worker-{number}.pkl", logs / f"worker-{number}.log"
    path.write_bytes(pickle.dumps(job))
    port = PORTS[secrets.randbelow(len(PORTS))] if runtime.devices > 1 else 0
    gpus = share(machine.gpus(runtime.accelerator), runtime.devices, number)
    import_paths = [str(OURS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(import_paths),
        "PYTHONSAFEPATH": "1",  # a user may have a package called suite in the working folder
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
    }
    command = [*before, sys.executable, "-u", "-m", "sweeps.workers", str(path), str(os.getpid())]
    with log.open("ab") as output:
        ranks = [
            subprocess.Popen(
                [*command, str(rank), str(port)], env=environment, stdout=output, stderr=output
            )
            for rank in range(runtime.devices)
        ]
    return Processes(tuple(ranks), log)


def share(gpus: Sequence[str], devices: int, number: int) -> tuple[str, ...]:
    """The GPUs of worker ``number``, ``devices`` of them; workers beyond the last share."""
    if not gpus:
        return ()
    first = number % max(1, len(gpus) // devices) * devices
    return tuple(gpus[first : first + devices])


def with_pack(runtime: Runtime, runs: int, workers: int) -> Runtime:
    """Limit the size of packs, so that no worker is idle while another trains a large one.

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
