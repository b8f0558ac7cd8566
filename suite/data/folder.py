"""ImageNet and other folders of image files: worker processes decode, crop and flip.

Layout: ``<root>/<name>/train/<class>/*`` and ``<root>/<name>/val/<class>/*``, as torchvision's
ImageFolder reads it. The published validation folder is the test split here, and a fixed
stratified part of the training folder validates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from suite.config import DataConfig
from suite.data.base import DataError, Dataset, EvalImages, limited, steps_per_epoch
from suite.data.split import hold_out
from suite.distiller import Batch
from suite.rng import derive_seed, generator

FOLDERS = ("imagenet", "imagefolder")
CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision and timm
SIZE = 224
RESIZE_RATIO = 256 / 224  # Resize(256), CenterCrop(224)
VALIDATION_SHARE = 0.04  # 51,247 of ImageNet's 1,281,167 images: 51 a class


def load_folder(config: DataConfig, root: Path, workers: int) -> Dataset:
    """The image folder ``root/config.name``. Raises :class:`DataError`."""
    folder, size = root / config.name, config.image_size or SIZE
    train = _open(folder / "train")
    labels = np.array(train.targets, dtype=np.int64)
    kept, validation = hold_out(labels, round(len(labels) * VALIDATION_SHARE))
    rows = kept if config.train_split == "train" else np.arange(len(labels))
    rows = limited(config, labels[rows], rows)
    evals: dict[str, EvalImages] = {}
    if "val" in config.eval_splits and config.train_split == "train":
        evals["val"] = FolderEval(_Files.of(train, validation), size, workers)
    if "test" in config.eval_splits:
        test = _open(folder / "val")
        if test.classes != train.classes:
            raise DataError(f"{folder}: the class folders under train and val differ")
        evals["test"] = FolderEval(_Files.of(test, np.arange(len(test))), size, workers)
    files = _Files.of(train, rows)
    return Dataset(
        name=config.name,
        num_classes=len(train.classes),
        image_shape=(3, size, size),
        train_labels=torch.tensor(files.labels),
        train=FolderTrain(files, size, workers, config.augment == "standard"),
        evals=evals,
    )


def describe_folder(name: str, root: Path) -> tuple[str, str, str, str]:
    """Classes, images per split, image size and place, as text."""
    place = f"{root / name}/{{train,val}}/<class>/"
    return "as found", "96 % / 4 % of train/, val/", f"3x{SIZE}x{SIZE}", place


@dataclass(frozen=True)
class _Files:
    paths: Sequence[str]
    labels: Sequence[int]
    loader: Any  # path -> PIL image

    @classmethod
    def of(cls, folder: ImageFolder, rows: Any) -> _Files:
        chosen = [folder.samples[row] for row in rows]
        return cls([path for path, _ in chosen], [label for _, label in chosen], folder.loader)

    def __len__(self) -> int:
        return len(self.paths)


class _Views(TorchDataset[tuple[Tensor, int, int]]):
    """Decoded bytes [3, size, size] of one image; augmentation depends on (seed, epoch, index)."""

    def __init__(self, files: _Files, size: int, augment: tuple[int, int] | None) -> None:
        self._files = files
        self._augment = augment
        self._random = transforms.Compose(
            [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
        )
        self._plain = transforms.Compose(
            [transforms.Resize(round(size * RESIZE_RATIO)), transforms.CenterCrop(size)]
        )
        self._bytes = transforms.PILToTensor()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        try:
            image = self._files.loader(self._files.paths[index])
        except OSError as error:
            raise DataError(f"cannot read image {self._files.paths[index]}: {error}") from None
        if self._augment is None:
            view = self._plain(image)
        else:
            with torch.random.fork_rng(devices=[]):
                seed, epoch = self._augment
                torch.default_generator.manual_seed(derive_seed(seed, "augment", epoch, index))
                view = self._random(image)
        return self._bytes(view), self._files.labels[index], index


@dataclass(frozen=True)
class _Loading:
    """Worker processes decode; the device normalises."""

    files: _Files
    size: int
    workers: int
    device: torch.device

    def batches(
        self, rows: Sequence[list[int]], augment: tuple[int, int] | None = None
    ) -> Iterator[Batch]:
        """One batch for each list of positions in ``rows``."""
        mean = torch.tensor(MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(STD, device=self.device).view(3, 1, 1)
        loader: DataLoader[tuple[Tensor, int, int]] = DataLoader(
            _Views(self.files, self.size, augment),
            batch_sampler=rows,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if self.workers else None,
        )
        for raw, label, index in loader:
            moved = raw.to(self.device, non_blocking=True)
            image = (moved.float() / 255 - mean) / std
            yield Batch(image, label.to(self.device), index.to(self.device))

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All images, not augmented."""
        count = len(self.files)
        starts = range(0, count, batch_size)
        return self.batches([list(range(s, min(s + batch_size, count))) for s in starts])


@dataclass(frozen=True)
class FolderEval:
    """An evaluation split of image files."""

    files: _Files
    size: int
    workers: int
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.files)

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        return replace(self, device=device)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All images in order."""
        loading = _Loading(self.files, self.size, self.workers, self.device)
        return loading.in_order(batch_size)


@dataclass(frozen=True)
class FolderTrain:
    """A training split of image files."""

    files: _Files
    size: int
    workers: int
    augment: bool
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.files)

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        return replace(self, device=device)

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return steps_per_epoch(len(self), batch_size)

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
        order = torch.randperm(len(self), generator=generator(seed, "order", epoch)).tolist()
        steps = range(first_step, self.steps(batch_size))
        rows = [order[s * batch_size : (s + 1) * batch_size][rank::world_size] for s in steps]
        loading = _Loading(self.files, self.size, self.workers, self.device)
        return loading.batches(rows, (seed, epoch) if self.augment else None)

    def plain(self, batch_size: int) -> Iterator[Batch]:
        """All images in the order of their index, not augmented."""
        loading = _Loading(self.files, self.size, self.workers, self.device)
        return loading.in_order(batch_size)


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
