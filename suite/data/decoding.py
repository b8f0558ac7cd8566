"""Worker processes decode image files, crop and flip; the device normalises.

Shapes: N images, B batch, S side of a view in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data.listing import Listing
from suite.data.policies import Policy
from suite.data.readers import Reader, reader
from suite.data.views import change
from suite.device.pool import Pool, Series
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_globals

CPU = torch.device("cpu")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision and timm
PART = 32
"""Images that a process makes at once: all begin a batch together, the first ends soon."""


class Drawn(NamedTuple):
    """What the views of one epoch of training are drawn by."""

    seed: int
    epoch: int
    views: tuple[str, ...] = ()  # further ones, see suite.data.views


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


class Part(NamedTuple):
    """A few images of one batch."""

    paths: NDArray[np.bytes_]  # [B]
    rows: Sequence[int]  # [B]: their positions in the split
    drawn: Drawn | None  # None: not augmented


class Decoder:
    """The views of each image; a random one depends on (seed, epoch, name, index) alone."""

    def __init__(
        self, size: int, decoder: str | None, *, standard: bool, policy: Policy | None = None
    ) -> None:
        """``standard``: random crop and flip in training; ``policy`` follows in the first view."""
        self.size = size
        self._decoder = decoder
        self._standard = standard
        self._policy = policy

    def __call__(self, part: Part) -> list[tuple[Tensor, ...]]:
        """Of each image the bytes [3, S, S] of its views."""
        read = reader(self._decoder, self.size)
        pairs = zip(part.paths, part.rows, strict=True)
        return [self._views(read, os.fsdecode(path), row, part.drawn) for path, row in pairs]

    def _views(
        self, read: Reader, path: str, index: int, drawn: Drawn | None
    ) -> tuple[Tensor, ...]:
        image = read.decode(path)
        if drawn is None:
            return (read.to_bytes(read.plain(image)),)
        looks = [self._look(read, image, index, drawn)]
        looks += [self._look(read, image, index, drawn, name) for name in drawn.views]
        return tuple(map(read.to_bytes, looks))

    def _look(self, read: Reader, image: Any, index: int, drawn: Drawn, *name: str) -> Any:
        """One view; no name: the first."""
        seed, epoch, _ = drawn
        if self._standard:
            with seeded_globals(seed, "augment", epoch, *name, index):  # torchvision's only stream
                look = read.random(image)
        else:
            look = read.plain(image)
        own = None if self._policy is None else self._policy.change(seed, epoch)
        added = change(seed, epoch, *name) if name else own
        return look if added is None else added(look, index)


class Reading(NamedTuple):
    """Positions of the images of each batch, and what their views are drawn by."""

    rows: Callable[[], Sequence[Tensor]]
    drawn: Drawn | None = None
    key: Hashable = None  # what is expected is known by it


@dataclass(frozen=True)
class Loading:
    """Images by their position in ``files``, as normalised batches: an evaluation split.

    The splits of a data set share the processes of ``pool``, which call ``decoder``.
    """

    files: Files
    decoder: Decoder
    pool: Pool[Part]
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.files.labels)

    def to(self, device: torch.device) -> Self:
        """The same with batches on ``device``."""
        return replace(self, device=device)

    @property
    def labels(self) -> Tensor:
        """[N] int64."""
        return torch.from_numpy(self.files.labels).to(self.device)

    def read(self, reading: Reading, following: Reading | None = None) -> Iterator[Batch]:
        """One batch for each list of positions; the processes begin with ``following`` meanwhile.

        Raises :class:`DataError` at an image that cannot be read.
        """
        rows = reading.rows()
        names = () if reading.drawn is None else reading.drawn.views
        most = min(PART, max(map(len, rows), default=0))
        made = self.pool.made(
            self._series(reading._replace(rows=lambda: rows)),
            sum(len(torch.split(some, PART)) for some in rows),
            (1 + len(names)) * 3 * self.decoder.size**2 * most,
            pinned=self.device.type == "cuda",
            following=None if following is None else self._series(following),
        )
        mean = torch.tensor(MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(STD, device=self.device).view(3, 1, 1)
        for some in rows:
            parts = list(islice(made, -(-len(some) // PART)))
            image, *others = (
                normalised([part.to(self.device, non_blocking=True) for part in view], mean, std)
                for view in zip(*parts, strict=True)
            )
            label = torch.from_numpy(self.files.labels[some.numpy()])
            views = dict(zip(names, others, strict=True))
            yield Batch(image, self._moved(label), self._moved(some), views)

    def batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """All images, not augmented, or those of one rank's batches."""
        rows = torch.split(torch.arange(len(self)), batch_size)[rank::world_size]
        return self.read(Reading(lambda: rows))

    def _series(self, reading: Reading) -> Series[Part]:
        def parts() -> Iterator[Part]:
            for some in chain.from_iterable(torch.split(it, PART) for it in reading.rows()):
                rows = some.numpy()
                yield Part(self.files.paths[rows], rows.tolist(), reading.drawn)

        return Series(reading.key, parts)

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device, without waiting for it."""
        own = tensor.pin_memory() if self.device.type == "cuda" else tensor
        return own.to(self.device, non_blocking=True)


def normalised(parts: Sequence[Tensor], mean: Tensor, std: Tensor) -> Tensor:
    """Bytes [b, 3, S, S] of each part of a batch -> (bytes / 255 - mean) / std [B, 3, S, S]."""
    if parts[0].device.type != "cpu":
        return (torch.cat(list(parts)).float() / 255 - mean) / std
    image = torch.empty(sum(map(len, parts)), *parts[0].shape[1:])
    for one, place in zip(chain.from_iterable(parts), image, strict=True):
        place.copy_(one).div_(255).sub_(mean).div_(std)  # in the core's cache: 5 times faster
    return image
