"""A run of the pair on a GPU that is not there: what a step launches, moves and computes."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from lightning_fabric.accelerators.cpu import CPUAccelerator
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import SingleDeviceStrategy

from bench import pairs
from bench.registry import Settings
from suite.data import Dataset
from suite.device.graphs import WARM_UP
from suite.device.precision import Autocast
from suite.interface.absent_gpu import NAME, AbsentGpu, Operation, Work

SETTINGS = Settings(device="cpu", threads=1, rounds=1, steps=1)
PASS_IMAGES = 64
"""What comes before the steps is not counted: a teacher's pass may see so many images."""


class StepWork(NamedTuple):
    """Of one step; batches are made many at a time and not counted."""

    outside: Work
    """Launched one by one; a replay counts as one."""
    inside: Work
    """Launched by the replays."""
    operations: list[Operation]
    """Both, one by one."""


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """Nothing: it is there."""


def fabric(gpu: AbsentGpu) -> Fabric:
    """One rank on the device."""
    strategy = SingleDeviceStrategy(gpu.device, _Accelerator())
    plugins: list[Any] = [Autocast("32-true", NAME), LightningEnvironment()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of srun, which nothing here uses
        return Fabric(strategy=strategy, plugins=plugins)


def step_work(method: str, images: Dataset) -> StepWork:
    """What the step after the recording asks of the device.

    Raises :class:`suite.interface.absent_gpu.Refused` when it waits for it.
    """
    with AbsentGpu() as gpu:
        config = pairs.config(method)
        engine = pairs.Engine(SETTINGS, images, [config], fabric(gpu), gpu.record, PASS_IMAGES)
        engine.train(WARM_UP + 1)
        batch = engine.next_batch()
        before = replace(gpu.outside), replace(gpu.inside)
        gpu.operations = []
        with gpu.step():
            engine.pack.step(engine.trainers, batch)
        for failure in engine.pack.failures.values():
            raise failure
        return StepWork(gpu.outside - before[0], gpu.inside - before[1], gpu.operations)
