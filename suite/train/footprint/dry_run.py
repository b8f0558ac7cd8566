"""A run with random weights on the CPU, of which a few small steps are made and nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor

from suite import models
from suite.config import RunConfig, Runtime, TeacherConfig
from suite.data import Dataset
from suite.data.arrays import VALUES_AT_ONCE, ArrayTrain, Pixels
from suite.device.precision import Autocast
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_globals
from suite.interface.taps import TappedModel
from suite.store.record import RunDirectory
from suite.train import evaluate, features
from suite.train.build import Ground, build_trainer
from suite.train.footprint.live import tensors_in
from suite.train.mixing import Mixing
from suite.train.optimization.accumulation import micro_batch_size
from suite.train.pack import Pack
from suite.train.teacher import Teacher

PASS_IMAGES = 8
"""A method that lets the teacher look at the training set sees so many images of it."""
PARTS = 2
"""Of a step with gradient accumulation: more need no more memory."""
NOWHERE = RunDirectory(Path())  # nothing is written


class DryRun:
    """The run of ``config`` up to its first step.

    Raises what building it raises: :class:`suite.interface.errors.UserError` for what the user can
    mend.
    """

    def __init__(self, config: RunConfig, data: Dataset, runtime: Runtime) -> None:
        self._config, self._data = config, data
        devices = runtime.devices * runtime.nodes
        self.batch_size = config.train.batch_size // devices
        """Of a device."""
        self.micro_batch_size = micro_batch_size(config.train, devices)
        self.parts = min(PARTS, config.train.accumulate)
        """Of a step."""
        self.images = len(data.train)
        plugins: list[Any] = [Autocast(config.train.precision, "cpu"), LightningEnvironment()]
        fabric = Fabric(accelerator="cpu", devices=1, plugins=plugins)
        layout = torch.channels_last if runtime.fast else torch.contiguous_format
        with seeded_globals(0, "check"):
            network = None if config.teacher is None else _frozen(config.teacher, data)
            teacher = None
            if network is not None:
                teacher = Teacher(network, fabric, config.train, layout, fast=runtime.fast)
            self._ground = Ground(fabric, data, teacher, {}, layout)
            self._trainer = build_trainer(config, self._ground, runtime, NOWHERE, PASS_IMAGES)
        self._pack = Pack(fabric, [self._trainer], teacher, layout)
        self._mixing = Mixing(config.data, data.num_classes, config.seed, fabric)
        self._trainer.begin()

    @property
    def image_bytes(self) -> int:
        """Of an image as a network takes it, float32."""
        return 4 * math.prod(self._data.image_shape)

    @property
    def images_evaluated(self) -> int:
        """At once."""
        return min(evaluate.BATCH_SIZE, max(map(len, self._data.evals.values()), default=0))

    def images_made(self, *, on_gpu: bool) -> int:
        """At once: on a GPU those of many steps, where images are small."""
        if not on_gpu or not isinstance(self._data.train, ArrayTrain):
            return self.batch_size
        one = self.batch_size * math.prod(self._data.image_shape)
        return min(self.images, self.batch_size * max(1, VALUES_AT_ONCE // one))

    def shared(self) -> Iterator[Tensor]:
        """What runs of a pack share: data and teacher."""
        yield from tensors_in(self._data)
        teacher = self._ground.teacher
        for network in () if teacher is None else teacher.networks:
            yield from (*network.parameters(), *network.buffers())

    def own(self) -> Iterator[Tensor]:
        """Weights, the method's buffers, and the average of the weights."""
        step, average = self._trainer.step, self._trainer.average
        yield from (*step.parameters(), *step.buffers(), *average.state_dict().values())

    def batches(self, rows: int) -> Iterator[Batch]:
        """Batches of so many images, as an epoch of small images makes them.

        What a recipe does image by image is left out: it takes the memory of one image.
        """
        train, names = self._data.train, self._trainer.step.distiller.views()
        plain = ArrayTrain(self._pixels(2 * rows))
        if isinstance(train, ArrayTrain):
            plain = ArrayTrain(train.pixels, train.padding, train.flip)
        again = [f"redrawn/{number}" for number, _ in enumerate(names)]
        for batch in plain.epoch(0, 1, rows, views=again):
            views = dict(zip(names, batch.views.values(), strict=True))
            yield self._mixing(Batch(batch.image, batch.label, batch.index, views), 1, 0)

    def step(self, batch: Batch) -> None:
        """An optimizer step with the batch, in :attr:`parts` parts."""
        with seeded_globals(0, "check"):
            self._pack.step([self._trainer], batch, len(batch) // self.parts)
        for failure in self._pack.failures.values():
            raise failure

    def evaluate(self, rows: int) -> None:
        """Look at so many images, with the teacher beside."""
        images, teacher = self._pixels(rows), self._trainer.teacher
        beside = teacher.model if teacher is not None and teacher.has_classifier else None
        evaluate.evaluate(self._ground.fabric, self._trainer.deployed, images, None, beside)

    def features(self, rows: int) -> Mapping[str, Tensor]:
        """What is kept of so many images at the end of the run."""
        step, teacher = self._trainer.step.eval(), self._trainer.teacher
        images = self._pixels(rows)
        with torch.no_grad():
            (batch,) = images.batches(rows)
            return features.of_batch(batch, step.student, teacher, step.distiller)

    def _pixels(self, count: int) -> Pixels:
        """Black images."""
        images = torch.zeros(count, *self._data.image_shape, dtype=torch.uint8)
        labels = torch.arange(count) % self._data.num_classes
        return Pixels.of(images, labels, self._data.mean, self._data.std)


def _frozen(config: TeacherConfig, data: Dataset) -> TappedModel:
    """The teacher without its weights."""
    network = models.as_one([models.create(member, data) for member in config.members])
    return network.requires_grad_(False)
