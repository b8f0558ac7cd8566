"""Packs and workers against the memory that they share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from suite.config import Runtime
from suite.device import machine
from suite.device.memory import readable
from suite.train.footprint import Footprint
from suite.train.pack import at_once
from suite.train.preflight import Findings, needed
from sweeps import executors
from sweeps.executors.base import Executor, ExecutorOptions
from sweeps.executors.local import with_pack


def within_memory(
    executor: Executor, runtime: Runtime, options: ExecutorOptions, findings: Findings
) -> tuple[Executor, Findings]:
    """The executor with packs that the device has room for, and the findings with notes on it.

    All runs are taken to need what the largest needs; workers of one machine share its memory, or
    that of a GPU.
    """
    if not findings.footprints:
        return executor, findings
    largest = max(findings.footprints, key=lambda it: needed(findings.footprints[it], runtime))
    needs = findings.footprints[largest]
    notes = [f"a run needs up to {readable(needed(needs, runtime))} at its peak ({largest.label})"]
    room = executor.device_bytes()
    if room is not None:
        runs = len(findings.footprints)
        workers = 1 if executor.detaches else min(executor.parallel(), runs)
        packed = runtime if executor.detaches else with_pack(runtime, runs, workers)
        workers = math.ceil(workers / max(1, len(machine.gpus(runtime.accelerator))))
        wanted = min(at_once(largest.config, packed), runs)
        pack = max(_packed(needs, runtime, wanted, room // workers), 1)
        notes += _told(needs, runtime, pack, wanted, workers, room)
        if pack < wanted:
            runtime = runtime.model_copy(update={"pack": pack})
            executor = executors.find(runtime, options)
    return executor, replace(findings, notes=(*findings.notes, *notes))


def _packed(needs: Footprint, runtime: Runtime, wanted: int, room: int) -> int:
    """How many such runs have room in one process, of those wanted."""
    return sum(needed(needs, runtime, runs) <= room for runs in range(1, wanted + 1))


def _told(
    needs: Footprint, runtime: Runtime, pack: int, wanted: int, workers: int, room: int
) -> Iterator[str]:
    one = needed(needs, runtime)
    if one * workers > room:
        yield (
            f"{workers} workers have {readable(room)} together, less than {workers} x "
            f"{readable(one)}: take fewer --jobs"
        )
    elif pack < wanted:
        all_of_them = readable(needed(needs, runtime, wanted))
        yield (
            f"packs of at most {pack} runs: {wanted} side by side would need {all_of_them} of the "
            f"{readable(room // workers)} that a worker has"
        )
