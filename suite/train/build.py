"""What a run is made of: data, teacher, student, method, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor

from suite import methods, models
from suite.config import RunConfig, Runtime
from suite.data import Dataset, load, require_contents, views
from suite.device import determinism, distributed, faulty_kernels, graphs, memory
from suite.device.machine import share_of_cores
from suite.device.precision import Autocast
from suite.interface.distiller import Batch, Distiller, Setup
from suite.interface.errors import UserError
from suite.interface.rng import Draws, derive_seed, generator, seeded_globals
from suite.interface.taps import Outputs, TappedModel
from suite.store import predictions
from suite.store.predictions import Predictions
from suite.store.record import RunDirectory
from suite.train import features, required_outputs
from suite.train.classes import require_those_of_the_teacher
from suite.train.evaluate import evaluate
from suite.train.optimization.accumulation import micro_batch_size
from suite.train.step import Step
from suite.train.teacher import Teacher
from suite.train.trainer import Trainer


@dataclass(frozen=True)
class Ground:
    """What the runs of a pack share."""

    fabric: Fabric
    data: Dataset  # on the device
    teacher: Teacher | None
    teacher_predicted: Mapping[str, Tensor]  # split -> classes [M] of its images
    layout: torch.memory_format
    record: graphs.Record[Any] | None = None  # how steps are recorded, None: they are not

    @classmethod
    def of(cls, config: RunConfig, runtime: Runtime, fabric: Fabric) -> Ground:
        """Load data and teacher."""
        require_contents(config.data)
        workers = runtime.workers
        if workers is None:
            workers = share_of_cores(runtime.devices)
        data = load(config.data, runtime.data_root, workers, runtime.data_cache)
        try:
            teacher = None
            if config.teacher is not None:
                require_those_of_the_teacher(config, data, runtime.runs_root)
                teacher = models.load_teacher(config.teacher, data, runtime.runs_root)
            return cls.on(config, runtime, fabric, data, teacher)
        except BaseException:
            data.close()
            raise

    @classmethod
    def on(
        cls,
        config: RunConfig,
        runtime: Runtime,
        fabric: Fabric,
        data: Dataset,
        network: TappedModel | None,
        record: graphs.Record[Any] | None = None,
    ) -> Ground:
        """Data and teacher that are there already; ``record``: other than by CUDA graphs."""
        data = _on_device(data, fabric.device)
        layout = _layout(config, runtime, fabric.device)
        if record is None and replays(runtime, fabric):
            record = graphs.record
        if network is None:
            return cls(fabric, data, None, {}, layout, record)
        network = network.to(fabric.device)
        known = _teacher_predicted(config, runtime, fabric, data, network)
        teacher = Teacher(network, fabric, config.train, layout, fast=runtime.fast, record=record)
        return cls(fabric, data, teacher, known, layout, record)


def _layout(config: RunConfig, runtime: Runtime, device: torch.device) -> torch.memory_format:
    """channels_last: on CPUs, and where tensor cores compute."""
    pays = device.type == "cpu" or config.train.precision != "32-true"
    if config.train.channels_last or (runtime.fast and pays):
        return torch.channels_last
    return torch.contiguous_format


def make_fabric(config: RunConfig, runtime: Runtime) -> Fabric:
    """Device, precision and ranks; sets torch's threads and determinism for the process."""
    threads = runtime.threads or (1 if device_of(runtime).type == "cpu" else None)
    if threads is not None:
        torch.set_num_threads(threads)
    precision = config.train.precision
    determinism.enforce(runtime.deterministic, precision)
    device = device_of(runtime).type
    if precision == "tf32" and device != "cuda":
        raise UserError(
            "train.precision 'tf32' needs a GPU; on a CPU: 32-true, bf16-mixed, 16-mixed"
        )
    alone = runtime.devices * runtime.nodes == 1
    autocast = Autocast(precision, device)
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        strategy="auto" if alone else distributed.strategy(),
        plugins=[autocast, LightningEnvironment()] if alone else [autocast],
    )
    fabric.launch()
    return fabric


def device_of(runtime: Runtime) -> torch.device:
    """The kind of device that a run takes on this machine."""
    on_gpu = runtime.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def build_trainer(
    config: RunConfig,
    ground: Ground,
    runtime: Runtime,
    directory: RunDirectory,
    pass_images: int | None = None,
) -> Trainer:
    """Student, method and optimizer, each from its own random stream; see :func:`build_distiller`
    for ``pass_images``.
    """
    fabric, data = ground.fabric, ground.data
    teacher = None if ground.teacher is None else ground.teacher.network
    with seeded_globals(config.seed, "init"):
        student = models.create(config.student, data)
    student = student.to(fabric.device)
    stream = generator(config.seed, "method", device=fabric.device)
    distiller = build_distiller(config, data, student, teacher, fabric, stream, pass_images)
    rank = [fabric.global_rank] if fabric.global_rank else []
    torch.manual_seed(derive_seed(config.seed, "layers", *rank))  # dropout and stochastic depth
    step = Step(student, distiller).to(memory_format=ground.layout)
    faulty_kernels.avoid(step, fabric.device)
    return Trainer(
        fabric,
        config,
        data,
        step,
        directory,
        stream,
        teacher,
        ground.teacher_predicted,
        fused=runtime.fast,
        keep_features_after=features.epochs_to_keep(config.train.epochs, runtime.feature_epochs),
        keep_stages=runtime.stage_features,
        record=ground.record,
    )


def replays(runtime: Runtime, fabric: Fabric) -> bool:
    """Whether steps are recorded and replayed as CUDA graphs."""
    return runtime.graphs and fabric.device.type == "cuda" and fabric.world_size == 1


def _teacher_predicted(
    config: RunConfig, runtime: Runtime, fabric: Fabric, data: Dataset, teacher: TappedModel
) -> dict[str, Tensor]:
    """The teacher's predicted classes on every split, from its own run where that kept them."""
    if config.teacher is None or not config.teacher.gives_logits:
        return {}
    kept: dict[str, Predictions] | None = {}
    run = None
    if config.teacher.run_id is not None:
        run = RunDirectory.of_teacher(runtime.runs_root, config.teacher.run_id)
        kept = predictions.load(run, config.data)
    damaged, kept = kept is None, kept or {}
    found = {
        split: kept[split]
        if split in kept and len(kept[split]) == len(images)
        else evaluate(fabric, teacher.model, images).predictions
        for split, images in data.evals.items()
    }
    if run is not None and damaged and fabric.is_global_zero:
        predictions.save(run, config.data, found)
    return {
        split: torch.as_tensor(it.predicted.astype(int), device=fabric.device)
        for split, it in found.items()
    }


def build_distiller(
    config: RunConfig,
    data: Dataset,
    student: TappedModel,
    teacher: TappedModel | None,
    fabric: Fabric,
    stream: torch.Generator,
    pass_images: int | None = None,
) -> Distiller:
    """The method, on the device.

    ``pass_images`` cuts the teacher's pass over the training set to so many images, to see only
    whether the method can be made. Raises :class:`suite.interface.distiller.UnsupportedPair`, and
    :class:`UserError` when the device has too little memory for the method.
    """
    memory.require(config.method, len(data.train_labels), memory.of_device(fabric.device))
    required_outputs.require(config)
    method = methods.find(config.method.name)
    batch_size = config.train.batch_size
    at_once = micro_batch_size(config.train)

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        if teacher is None:
            return
        size = at_once if pass_images is None else min(at_once, pass_images)
        batches = data.train.epoch(config.seed, 1, size)
        for batch in batches if pass_images is None else islice(batches, 1):
            with torch.no_grad(), fabric.autocast():
                outputs = teacher(batch.image, taps)
            yield batch, outputs.float()

    setup = Setup(
        student=student,
        teacher=teacher,
        num_classes=data.num_classes,
        train_labels=data.train_labels.to(fabric.device),
        epochs=config.train.epochs,
        steps_per_epoch=data.train.steps(batch_size, fabric.world_size),
        device=fabric.device,
        draws=Draws(stream, fabric.global_rank, fabric.world_size),
        gather=partial(distributed.gather, fabric),
        teacher_pass=teacher_pass,
    )
    with seeded_globals(config.seed, "method_init"):
        distiller = method(method.Config.model_validate(config.method.options), setup)
    views.check(distiller.views())
    student.check(distiller.student_taps())
    if teacher is not None:
        teacher.check(distiller.teacher_taps())
    return distiller.to(fabric.device)


def _on_device(data: Dataset, device: torch.device) -> Dataset:
    evals = {split: images.to(device) for split, images in data.evals.items()}
    return replace(data, train=data.train.to(device), evals=evals)
