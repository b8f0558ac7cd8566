"""Whole runs, from data in memory to their record, and the memory they take; random weights."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from bench import memory, pairs
from suite import models
from suite.config import RunConfig, RunSpec, Runtime, parse
from suite.data import Dataset, load
from suite.interface.distiller import Batch
from suite.interface.rng import generator, seeded_globals
from suite.interface.taps import TappedModel
from suite.store.record import RunDirectory, now
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.footprint import DryRun, Footprint, footprint
from suite.train.footprint.live import Live, tensors_in
from suite.train.pack import Pack
from suite.train.result import write_result
from suite.train.trainer import Trainer
from sweeps.plan.expand import expand

RUNTIME = Runtime(accelerator="cpu", threads=1, tracker="none")
CLEAR = Path("/proc/self/clear_refs")
FORGET_PEAK = "5"
"""What makes Linux forget the largest resident size so far."""


class Pair(NamedTuple):
    """Runs that differ in their method alone."""

    spec: RunSpec
    data: Dataset

    def of(self, method: str) -> RunSpec:
        """The run of ``method`` with its defaults, for one epoch."""
        values: dict[str, Any] = self.spec.model_dump(mode="json")
        values["config"]["method"] = {"name": method}
        values["config"]["train"] |= {"epochs": 1, "eval_every": 1}
        if method == "scratch":
            values["config"]["teacher"] = None
        return parse(RunSpec, values | {"label": method}, "bench")


def digits() -> Pair:
    """The pair of the experiment dskd_digits."""
    runs = expand("dskd_digits", ["methods=[kd]", "seeds=[0]"]).runs
    spec = next(it for it in runs if it.role == "student")
    return Pair(spec, load(spec.config.data, Path()))


def cifar(train_images: int, test_images: int) -> Pair:
    """The pair of the other benchmarks, on so many random images."""
    stream = generator(0, "bench")
    train, test = (pairs.random_images(it, stream) for it in (train_images, test_images))
    data = pairs.of_images(train, test)
    return Pair(RunSpec(config=pairs.config("kd"), experiment="memory", label="kd"), data)


class Tensors(NamedTuple):
    """Bytes of tensors."""

    run: int
    """At the peak of runs that train side by side to their end."""
    steps: int
    """At the peak of their steps, without evaluation and what is kept at the end."""


def footprints(pair: Pair, methods: Sequence[str], *, on_gpu: bool = False) -> list[Footprint]:
    """By small steps."""
    runs = (DryRun(pair.of(it).config, pair.data, RUNTIME) for it in methods)
    return [footprint(run, on_gpu=on_gpu) for run in runs]


def estimated(pair: Pair, methods: Sequence[str]) -> Tensors:
    """Of a pack of these methods, or of one, on a CPU."""
    first, *others = footprints(pair, methods)
    return Tensors(first.peak(*others), first.peak_of_steps(*others))


def measured(pair: Pair, methods: Sequence[str]) -> Tensors:
    """Of the same runs, as they train."""
    live = Live()
    live.note(tensors_in(pair.data))
    steps = _train(pair, methods, live)
    return Tensors(live.peak_bytes, steps)


def resident_at_peak(pair: Pair, methods: Sequence[str]) -> int:
    """Bytes of the process at the peak of the same runs, beyond those before; Linux alone says."""
    gc.collect()
    CLEAR.write_text(FORGET_PEAK)
    before = memory.resident("VmRSS")
    _train(pair, methods)
    return memory.resident("VmHWM") - before


class OnGpu(NamedTuple):
    """Bytes, beyond those before."""

    allocated: int
    """Of tensors, at the peak."""
    reserved: int
    """That the allocator took from the device: also what recordings keep to themselves."""


def measured_on_gpu(pair: Pair, methods: Sequence[str]) -> OnGpu:
    """Of the same runs on the first GPU."""
    torch.zeros(1, device="cuda")  # the driver and its context are there
    torch.cuda.reset_peak_memory_stats()
    before = OnGpu(torch.cuda.memory_allocated(), torch.cuda.memory_reserved())
    _train(pair, methods, runtime=RUNTIME.model_copy(update={"accelerator": "cuda"}))
    most = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return OnGpu(most[0] - before.allocated, most[1] - before.reserved)


class _WatchedPack(Pack):
    """Notes the peak of its steps."""

    live = Live()
    steps = 0

    def step(self, group: Sequence[Trainer], batch: Batch, rows: int | None = None) -> None:
        """As the engine's."""
        before, self.live.peak_bytes = self.live.peak_bytes, self.live.bytes
        super().step(group, batch, rows)
        self.steps = max(self.steps, self.live.peak_bytes)
        self.live.peak_bytes = max(before, self.live.peak_bytes)


def _train(
    pair: Pair, methods: Sequence[str], live: Live | None = None, runtime: Runtime = RUNTIME
) -> int:
    """Train them; returns the peak of the steps, where ``live`` watches."""
    specs = [pair.of(method) for method in methods]
    config = specs[0].config
    fabric = make_fabric(config, runtime)
    with TemporaryDirectory() as folder, live or nullcontext():
        runtime = runtime.model_copy(update={"runs_root": Path(folder)})
        ground = Ground.on(config, runtime, fabric, pair.data, _teacher(config, pair.data))
        trainers: dict[Trainer, RunSpec] = {}
        for spec in specs:
            directory = RunDirectory.of(runtime.runs_root, spec.experiment, spec.run_id)
            directory.start(spec.model_dump(mode="json"))
            trainers[build_trainer(spec.config, ground, runtime, directory)] = spec

        def finish(trainer: Trainer) -> None:
            write_result(trainers[trainer], trainer, now(), len(trainers))

        pack = _WatchedPack(fabric, list(trainers), ground.teacher, ground.layout, finish)
        pack.live = live or pack.live
        pack.fit(lambda: False, checkpoint_seconds=3600.0)
        for failure in pack.failures.values():
            raise failure
        return pack.steps


def _teacher(config: RunConfig, data: Dataset) -> TappedModel | None:
    if config.teacher is None:
        return None
    with seeded_globals(0, "bench teacher"):
        members = [models.create(member, data) for member in config.teacher.members]
    return models.as_one(members).requires_grad_(False)
