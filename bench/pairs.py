"""Real trainers of the suite on random images or CIFAR-100, without a run store of teachers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from bench.registry import Settings
from suite import data, models
from suite.config import DataConfig, ModelConfig, RunConfig, Runtime, parse
from suite.data import Dataset, sets
from suite.data.arrays import ArrayTrain, Pixels
from suite.device.graphs import Record
from suite.interface.distiller import Batch
from suite.interface.rng import generator, seeded_globals
from suite.interface.taps import TappedModel
from suite.store.record import RunDirectory
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.pack import Pack
from suite.train.trainer import Trainer

TEACHER, STUDENT, BATCH_SIZE, CLASSES = "cifar_wrn_40_2", "cifar_wrn_16_2", 64, 100
IMAGES = 50_000
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
EPOCHS = 240


def pixels(settings: Settings) -> tuple[Tensor, Tensor]:
    """Training images [N, 3, 32, 32] uint8 and labels [N] of CIFAR-100, or as many random ones."""
    if settings.data_root is not None:
        return sets.find("cifar100").read(settings.data_root, True)
    return random_images(IMAGES, generator(0, "bench"))


def random_images(count: int, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [N, 3, 32, 32] uint8 and labels [N]."""
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=stream)
    return images, torch.arange(count) % CLASSES


def dataset(settings: Settings) -> Dataset:
    """The same images as the engine takes them."""
    if settings.data_root is not None:
        splits = ("test",) if settings.device == "cuda" else ()
        config = DataConfig(name="cifar100", train_split="trainval", eval_splits=splits)
        return data.load(config, settings.data_root)
    images, labels = pixels(settings)
    test = (images[:10_000], labels[:10_000])
    return of_images((images, labels), test if settings.device == "cuda" else None)


def of_images(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor] | None) -> Dataset:
    """Images and labels as if they were CIFAR-100's."""
    source = sets.find("cifar100")
    pixels = Pixels.of(*train, source.mean, source.std)
    return Dataset(
        name="random",
        num_classes=CLASSES,
        image_shape=(3, 32, 32),
        train_labels=pixels.labels,
        train=ArrayTrain(pixels, padding=4, flip=True),
        evals={} if test is None else {"test": Pixels.of(*test, source.mean, source.std)},
        mean=source.mean,
        std=source.std,
    )


def config(method: str, precision: str = "32-true", **options: Any) -> RunConfig:
    """A run of the pair by the field's recipe."""
    values = {
        "data": {"name": "cifar100"},
        "student": {"name": STUDENT},
        "teacher": {"name": TEACHER, "pretrained": True},
        "method": {"name": method, "options": options},
        "optimizer": SGD,
        "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": precision},
    }
    return parse(RunConfig, values, "bench")


def teacher() -> TappedModel:
    """The teacher's network with random weights: they change no time."""
    with seeded_globals(0, "bench teacher"):
        network = models.create(ModelConfig(name=TEACHER), models.BareTask(CLASSES, (3, 32, 32)))
    return network.eval().requires_grad_(False)


class Engine:
    """Runs of the pair, trained side by side a few steps at a time, as the suite trains them."""

    def __init__(
        self,
        settings: Settings,
        images: Dataset,
        configs: Sequence[RunConfig],
        fabric: Fabric | None = None,
        record: Record[Any] | None = None,
        pass_images: int | None = None,
        **runtime: Any,
    ) -> None:
        """``pass_images``: as :func:`suite.train.build.build_trainer` takes it."""
        self._folder = TemporaryDirectory()
        place = Path(self._folder.name)
        options = Runtime(
            accelerator=settings.device, threads=settings.threads, tracker="none", **runtime
        )
        fabric = fabric or make_fabric(configs[0], options)
        self.ground = Ground.on(configs[0], options, fabric, images, teacher(), record)
        self.trainers: list[Trainer] = [
            build_trainer(it, self.ground, options, RunDirectory(place / str(number)), pass_images)
            for number, it in enumerate(configs)
        ]
        self.pack = Pack(fabric, self.trainers, self.ground.teacher, self.ground.layout)
        self._batches = self._endless(configs[0])
        for trainer in self.trainers:
            trainer.begin()

    def _endless(self, config: RunConfig) -> Iterator[Any]:
        asked = (name for it in self.trainers for name in it.step.distiller.views())
        views = tuple(dict.fromkeys(asked))
        epoch, size = 0, config.train.batch_size
        while True:
            epoch += 1
            batches = self.ground.data.train.epoch(config.seed, epoch, size, views=views)
            yield from (batch for batch in batches if len(batch) == size)

    def next_batch(self) -> Batch:
        """A batch that no step has had."""
        batch: Batch = next(self._batches)
        return batch

    def train(self, steps: int) -> None:
        """So many optimizer steps of every run, and the sums read as at the end of an epoch."""
        for _ in range(steps):
            self.pack.step(self.trainers, self.next_batch())
            for failure in self.pack.failures.values():
                raise failure
        for trainer in self.trainers:
            trainer.pause(0.0)
