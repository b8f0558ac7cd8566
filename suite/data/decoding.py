"""Worker processes decode image files, crop and flip; the device normalises.

Shapes: N images, B batch, S side of a view in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from torchvision.datasets.folder import pil_loader

from suite.data.base import DataError
from suite.data.listing import Listing
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_globals

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision and timm
RESIZE_RATIO = 256 / 224  # Resize(256), CenterCrop(224)
PREFETCHED_BATCHES = 4  # by each worker

View = tuple[Tensor, int, int]  # bytes [3, S, S], label, index


@dataclass(frozen=True)
class Files:
    """Arrays, not lists: reading a list would copy it into every worker process bit by bit."""

    paths: NDArray[np.bytes_]  # [N]
    labels: NDArray[np.int64]  # [N]

    @classmethod
    def of(cls, *splits: Listing) -> Files:
        """All images of these splits, one split after the other."""
        paths = [np.char.add(os.fsencode(it.folder) + b"/", it.paths) for it in splits]
        return cls(np.concatenate(paths), np.concatenate([it.labels for it in splits]))

    def at(self, rows: NDArray[np.int64]) -> Files:
        """The images at ``rows``."""
        return Files(self.paths[rows], self.labels[rows])


class _Views(TorchDataset[View]):
    """One view an image; a random one depends on (seed, epoch, index) and on nothing else."""

    def __init__(self, files: Files, size: int, augment: tuple[int, int] | None) -> None:
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
        return len(self._files.labels)

    def __getitem__(self, index: int) -> View:
        image = _decode(os.fsdecode(self._files.paths[index]))
        if self._augment is None:
            view = self._plain(image)
        else:
            seed, epoch = self._augment
            with seeded_globals(seed, "augment", epoch, index):  # torchvision's only stream
                view = self._random(image)
        return self._bytes(view), int(self._files.labels[index]), index


@dataclass(frozen=True)
class Loading:
    """Images by their position in ``files``, as normalised batches on ``device``."""

    files: Files
    size: int
    workers: int
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.files.labels)

    def to(self, device: torch.device) -> Self:
        """The same with batches on ``device``."""
        return replace(self, device=device)

    def batches(
        self, rows: Sequence[list[int]], augment: tuple[int, int] | None = None
    ) -> Iterator[Batch]:
        """One batch for each list of positions; ``augment`` is (seed, epoch).

        Raises :class:`DataError` at an image that cannot be read.
        """
        mean = torch.tensor(MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(STD, device=self.device).view(3, 1, 1)
        loader: DataLoader[View] = DataLoader(
            _Views(self.files, self.size, augment),
            batch_sampler=rows,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=PREFETCHED_BATCHES if self.workers else None,
            generator=torch.Generator(),  # by default it takes a number from the global stream
        )
        for raw, label, index in _with_short_errors(loader):
            moved = raw.to(self.device, non_blocking=True)  # [B, 3, S, S]
            image = (moved.float() / 255 - mean) / std
            to = {"device": self.device, "non_blocking": True}
            yield Batch(image, label.to(**to), index.to(**to))

    def in_order(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """All images, not augmented, or those of one rank's batches."""
        rows = torch.split(torch.arange(len(self)), batch_size)[rank::world_size]
        return self.batches([part.tolist() for part in rows])


def _decode(path: str) -> Any:
    """The RGB image. Raises :class:`DataError` for all that Pillow raises on damaged files."""
    try:
        return pil_loader(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"image {path} cannot be read: {reason}") from None


def _with_short_errors(loader: DataLoader[View]) -> Iterator[Any]:
    """A worker's error comes with its traceback in the message; keep what the worker said."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).strip().rpartition(f"{DataError.__name__}: ")[2]) from None
