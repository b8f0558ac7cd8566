"""ImageNet and other folders of image files.

Layout: ``<root>/<name>/train/<class>/*`` and ``<root>/<name>/val/<class>/*``, as torchvision's
ImageFolder reads it. The published validation folder is the test split here, and a fixed
stratified part of the training folder validates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torchvision.datasets import ImageFolder

from suite.config import DataConfig
from suite.data.base import DataError, Dataset, EvalImages, rank_rows, steps_per_epoch
from suite.data.decoding import Files, Loading
from suite.data.split import training_and_validation
from suite.distiller import Batch
from suite.rng import generator

FOLDERS = ("imagenet", "imagefolder")
SIZE = 224
VALIDATION_SHARE = 0.04  # 51,247 of ImageNet's 1,281,167 images: 51 a class


def load_folder(config: DataConfig, root: Path, workers: int) -> Dataset:
    """The image folder ``root/config.name``. Raises :class:`DataError`."""
    if config.classes is not None:
        raise DataError(
            f"data.classes {config.classes}: image folders are used whole; leave it out"
        )
    folder, size = root / config.name, config.image_size or SIZE
    train = _open(folder / "train")
    labels = np.array(train.targets, dtype=np.int64)
    validation_images = max(len(train.classes), round(len(labels) * VALIDATION_SHARE))
    rows, validation = training_and_validation(config, labels, validation_images)
    if len(rows) < 2:
        raise DataError(f"image folder {folder}/train: {len(labels)} images are too few to train")
    evals: dict[str, EvalImages] = {}
    if "val" in config.eval_splits and len(validation):
        evals["val"] = FolderEval(Loading(Files.of(train, validation), size, workers))
    if "test" in config.eval_splits:
        test = _open(folder / "val")
        if test.classes != train.classes:
            raise DataError(f"{folder}: the class folders under train and val differ")
        evals["test"] = FolderEval(Loading(Files.of(test, np.arange(len(test))), size, workers))
    files = Files.of(train, rows)
    return Dataset(
        name=config.name,
        num_classes=len(train.classes),
        image_shape=(3, size, size),
        train_labels=torch.from_numpy(files.labels),
        train=FolderTrain(Loading(files, size, workers), config.augment == "standard"),
        evals=evals,
    )


def describe_folder(name: str, root: Path) -> tuple[str, str, str, str]:
    """Classes, images per split, image size and place, as text."""
    place = f"{root / name}/{{train,val}}/<class>/"
    return "as found", "96 % / 4 % of train/, val/", f"3x{SIZE}x{SIZE}", place


@dataclass(frozen=True)
class FolderEval:
    """An evaluation split of image files."""

    loading: Loading

    def __len__(self) -> int:
        return len(self.loading)

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        return replace(self, loading=self.loading.to(device))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All images in order."""
        return self.loading.in_order(batch_size)


@dataclass(frozen=True)
class FolderTrain:
    """A training split of image files."""

    loading: Loading
    augment: bool

    def __len__(self) -> int:
        return len(self.loading)

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        return replace(self, loading=self.loading.to(device))

    def steps(self, batch_size: int, world_size: int = 1) -> int:
        """Batches an epoch."""
        return steps_per_epoch(len(self), batch_size, world_size)

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[Batch]:
        """Shuffled and augmented batches; a pure function of (seed, epoch) from any step on."""
        order = torch.randperm(len(self), generator=generator(seed, "order", epoch))
        steps = rank_rows(order, batch_size, first_step, rank, world_size)
        rows = [step.tolist() for step in steps]
        return self.loading.batches(rows, (seed, epoch) if self.augment else None)

    def plain(self, batch_size: int) -> Iterator[Batch]:
        """All images in the order of their index, not augmented."""
        return self.loading.in_order(batch_size)


def _open(folder: Path) -> ImageFolder:
    try:
        return ImageFolder(str(folder))
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"image folder {folder}: {reason[:200]}. Put one folder per class there, for example "
            f"{folder}/<class>/<image>.jpg, under both train/ and val/; another place is chosen "
            "with --data-root or DSKD_DATA_ROOT."
        ) from None
