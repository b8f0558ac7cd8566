"""ImageNet and other folders of image files.

Layout: ``<root>/<name>/train/<class>/*`` and ``<root>/<name>/val/<class>/*``, as torchvision's
ImageFolder reads it. The published validation folder is the test split here, and a fixed
stratified part of the training folder validates (Tiny-ImageNet's ``val`` may stay as it is
published, see :mod:`suite.data.listing`). Where there is ``<root>/<name>/test/<class>/*``
too, that is the test split, and the validation folder validates. A split may be shards instead,
``<root>/<name>/train/*.tar`` (:mod:`suite.data.shards`), and all of them Parquet files,
``<root>/<name>/data/train-*.parquet`` (:mod:`suite.data.parquet`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from suite.config import DataConfig
from suite.data.base import DataError, Dataset, EvalImages, rank_rows, steps_per_epoch
from suite.data.contents import check, contents_of
from suite.data.decoding import MEAN, STD, Decoder, Drawn, Files, Loading, Reading
from suite.data.listing import (
    TEST,
    TRAIN,
    VAL,
    Listing,
    parquet_folder,
    require_classes,
    scan,
    splits,
)
from suite.data.policies import Policy
from suite.data.split import training_and_validation
from suite.device.machine import cores
from suite.device.pool import Pool
from suite.interface.distiller import Batch
from suite.interface.rng import generator

SIZE = 224
VALIDATION_SHARE = 0.04  # 51,247 of ImageNet's 1,281,167 images: 51 a class


def load_folder(config: DataConfig, root: Path, workers: int | None, cache: Path | None) -> Dataset:
    """The image folder ``root/config.name``, with ``cache`` as :func:`contents_of` takes it.

    ``workers`` processes decode its images; None: one for each core that this process may use.
    Raises :class:`DataError`, also when the folder does not hold ``config.contents``.
    """
    if config.classes is not None:
        raise DataError(
            f"data.classes {config.classes}: image folders are used whole; leave it out"
        )
    folder, size = root / config.name, config.image_size or SIZE
    found = splits(folder, cache, config.columns)
    if config.contents is not None:
        check(config.contents, folder, contents_of(folder, cache, found, config.columns))
    train, validation, test = _split(config, folder, found)
    if len(train.labels) < 2:
        raise DataError(
            f"image folder {found[TRAIN].place}: {len(found[TRAIN])} images are too few to train"
        )
    decoder = Decoder(
        size,
        config.decoder,
        standard=config.augment == "standard",
        policy=Policy.of(config.auto_augment, MEAN, size),
    )
    pool = Pool(decoder, cores() if workers is None else workers)
    evals: dict[str, EvalImages] = {}
    if "val" in config.eval_splits and len(validation.labels):
        evals["val"] = Loading(validation, decoder, pool)
    if test is not None:
        evals["test"] = Loading(test, decoder, pool)
    return Dataset(
        name=config.name,
        num_classes=len(found[TRAIN].classes),
        image_shape=(3, size, size),
        train_labels=torch.from_numpy(train.labels),
        train=FolderTrain(Loading(train, decoder, pool)),
        evals=evals,
        mean=MEAN,
        std=STD,
        class_names=tuple(map(readable, found[TRAIN].classes)),
        close=pool.close,
    )


def _split(
    config: DataConfig, folder: Path, found: dict[str, Listing]
) -> tuple[Files, Files, Files | None]:
    """Training, validation and test images; the last only where ``config`` asks for them."""
    train = found[TRAIN]
    whole, own = [train], found.get(VAL) if TEST in found else None
    if own is not None:
        require_classes(own, train)
        whole += [own] if config.train_split == "trainval" else []
    files = Files.of(*whole)
    share = max(len(train.classes), round(len(train) * VALIDATION_SHARE))
    rows, held_out = training_and_validation(config, files.labels, share if own is None else 0)
    validation = files.at(held_out)
    if own is not None and config.train_split == "train":
        validation = Files.of(own)
    test = None
    if "test" in config.eval_splits:
        split = found.get(TEST) or found.get(VAL) or scan(folder / VAL)  # the last raises
        require_classes(split, train)
        test = Files.of(split)
    return files.at(rows), validation, test


def describe_folder(name: str, root: Path) -> tuple[str, str, str, str]:
    """Classes, images per split, image size and place, as text."""
    tables = parquet_folder(root / name)
    place = f"{root / name}/{{train,val}}/<class>/"
    if tables is not None:
        place = f"{tables}/{{train,validation}}-*.parquet"
    return "as found", "96 % / 4 % of train/, val/", f"3x{SIZE}x{SIZE}", place


def readable(name: str) -> str:
    """A file name as text: bytes that are no UTF-8 are written as ``\\xff``."""
    return os.fsencode(name).decode(errors="backslashreplace")


@dataclass(frozen=True)
class FolderTrain:
    """A training split of image files."""

    loading: Loading

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
        views: Sequence[str] = (),
        epochs: int | None = None,
    ) -> Iterator[Batch]:
        """Shuffled and augmented batches; a pure function of (seed, epoch) from any step on."""
        now = self._reading(seed, epoch, views, batch_size, first_step, rank, world_size)
        if epochs is None or epoch >= epochs:
            return self.loading.read(now)
        following = self._reading(seed, epoch + 1, views, batch_size, 0, rank, world_size)
        return self.loading.read(now, following)

    def _reading(self, seed: int, epoch: int, views: Sequence[str], *cut: int) -> Reading:
        """An epoch, cut into batches as :func:`rank_rows` does it."""

        def rows() -> list[Tensor]:
            order = torch.randperm(len(self), generator=generator(seed, "order", epoch))
            return rank_rows(order, *cut)

        drawn = Drawn(seed, epoch, tuple(views))
        return Reading(rows, drawn, (drawn, *cut))

    def plain(self, batch_size: int) -> Iterator[Batch]:
        """All images in the order of their index, not augmented."""
        return self.loading.batches(batch_size)
