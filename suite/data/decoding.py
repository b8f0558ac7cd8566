"""Worker processes decode image files, crop and flip; the device normalises.

Shapes: N images, B batch, S side of a view in pixels.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from suite.data.base import DataError
from suite.data.listing import Listing
from suite.data.policies import Policy
from suite.data.readers import Reader, reader
from suite.data.views import change
from suite.device.machine import shared_memory_bytes
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_globals

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision and timm
PREFETCHED_BATCHES = 4  # by each worker
log = logging.getLogger(__name__)

Looks = tuple[tuple[Tensor, ...], int, int]
"""Bytes [3, S, S] of the first view and of further ones, label, index."""


class Augmented(NamedTuple):
    """How images look in one epoch of training."""

    seed: int
    epoch: int
    standard: bool  # random crop and flip, else the view for evaluation
    views: Sequence[str] = ()  # further ones, see suite.data.views
    policy: Policy | None = None  # follows in the first view


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


class _Views(TorchDataset[Looks]):
    """The views of each image; a random one depends on (seed, epoch, name, index) alone."""

    def __init__(self, files: Files, read: Reader, augment: Augmented | None) -> None:
        self._files = files
        self._read = read
        self._augment = augment

    def __len__(self) -> int:
        return len(self._files.labels)

    def __getitem__(self, index: int) -> Looks:
        image = self._read.decode(os.fsdecode(self._files.paths[index]))
        views = () if self._augment is None else self._augment.views
        looks = [self._look(image, index), *(self._look(image, index, name) for name in views)]
        return tuple(map(self._read.to_bytes, looks)), int(self._files.labels[index]), index

    def _look(self, image: Any, index: int, *name: str) -> Any:
        """One view; no name: the first."""
        if self._augment is None:
            return self._read.plain(image)
        seed, epoch, standard, _, policy = self._augment
        if standard:
            with seeded_globals(seed, "augment", epoch, *name, index):  # torchvision's only stream
                look = self._read.random(image)
        else:
            look = self._read.plain(image)
        own = None if policy is None else policy.change(seed, epoch)
        added = change(seed, epoch, *name) if name else own
        return look if added is None else added(look, index)


@dataclass(frozen=True)
class Loading:
    """Images by their position in ``files``, as normalised batches on ``device``."""

    files: Files
    size: int
    workers: int
    decoder: str | None = None
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.files.labels)

    def to(self, device: torch.device) -> Self:
        """The same with batches on ``device``."""
        return replace(self, device=device)

    def batches(
        self, rows: Sequence[list[int]], augment: Augmented | None = None
    ) -> Iterator[Batch]:
        """One batch for each list of positions.

        Raises :class:`DataError` at an image that cannot be read.
        """
        mean = torch.tensor(MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(STD, device=self.device).view(3, 1, 1)
        names = () if augment is None else augment.views
        bytes_each = (1 + len(names)) * 3 * self.size**2
        batch_bytes = bytes_each * max(map(len, rows), default=0)
        workers, ahead = within(shared_memory_bytes(), self.workers, batch_bytes)
        loader: DataLoader[Looks] = DataLoader(
            _Views(self.files, reader(self.decoder, self.size), augment),
            batch_sampler=rows,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=ahead,
            generator=torch.Generator(),  # by default it takes a number from the global stream
        )
        to = {"device": self.device, "non_blocking": True}
        for looks, label, index in _with_short_errors(loader):
            moved = (raw.to(**to) for raw in looks)  # [B, 3, S, S] each
            image, *others = (normalised(raw, mean, std) for raw in moved)
            views = dict(zip(names, others, strict=True))
            yield Batch(image, label.to(**to), index.to(**to), views)

    def in_order(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """All images, not augmented, or those of one rank's batches."""
        rows = torch.split(torch.arange(len(self)), batch_size)[rank::world_size]
        return self.batches([part.tolist() for part in rows])


def within(room: int | None, workers: int, batch_bytes: int) -> tuple[int, int | None]:
    """Loading processes, and batches that each makes ahead, for which there is shared memory.

    At most ``workers`` and :data:`PREFETCHED_BATCHES`. They take half of the ``room`` in bytes,
    since other runs may look at the same moment, one batch of it for the one in use. Without room
    for a batch of one process there is none, and images are decoded where they are needed.
    """
    if workers == 0:
        return 0, None
    if room is None or batch_bytes == 0:
        return workers, PREFETCHED_BATCHES
    batches = room // (2 * batch_bytes) - 1
    fewer = max(0, min(workers, batches))
    ahead = min(PREFETCHED_BATCHES, batches // fewer) if fewer else None
    if (fewer, ahead) != (workers, PREFETCHED_BATCHES):
        log.warning(
            "shared memory has %.0f MB free and a batch takes %.0f MB: %d loading processes, each "
            "%d batches ahead, instead of %d and %d; in a container, --shm-size gives more",
            *(room / 1e6, batch_bytes / 1e6, fewer, ahead or 0, workers, PREFETCHED_BATCHES),
        )
    return fewer, ahead


def normalised(raw: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Bytes [B, 3, S, S] -> (bytes / 255 - mean) / std in float32."""
    if raw.device.type != "cpu":
        return (raw.float() / 255 - mean) / std
    image = torch.empty(raw.shape)
    for one, place in zip(
        raw, image, strict=True
    ):  # each stays in the core's cache: 5 times faster
        place.copy_(one).div_(255).sub_(mean).div_(std)
    return image


def _with_short_errors(loader: DataLoader[Looks]) -> Iterator[Any]:
    """A worker's error comes with its traceback in the message; keep what the worker said."""
    try:
        yield from loader
    except DataError as error:
        raise DataError(str(error).strip().rpartition(f"{DataError.__name__}: ")[2]) from None
