"""What the engine asks of a data set.

Shapes: N training images, M images of an evaluation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from suite.config import DataConfig
from suite.data.split import Indices, Labels, limit
from suite.distiller import Batch
from suite.errors import UserError


class DataError(UserError):
    """A data set is missing, damaged or too small; the message says what to put where."""


class EvalImages(Protocol):
    """A split that is only looked at."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        ...

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All images in order, not augmented; ``index`` is the position in the split."""
        ...


class TrainImages(Protocol):
    """The training split. An epoch is a pure function of (seed, epoch)."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        ...

    def steps(self, batch_size: int) -> int:
        """Batches an epoch. The last may be smaller; a last batch of one image is left out, since
        batch normalisation cannot train on it."""
        ...

    def epoch(
        self,
        seed: int,
        epoch: int,
        batch_size: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[Batch]:
        """Shuffled and augmented batches from ``first_step`` on.

        Rank r of w ranks gets images r, r + w, r + 2w, ... of each global batch.
        """
        ...

    def plain(self, batch_size: int) -> Iterator[Batch]:
        """All images in the order of their index, not augmented."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Training images and the evaluation splits that were asked for, no others."""

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]  # channels, H, W
    train_labels: Tensor  # [N] int64
    train: TrainImages
    evals: Mapping[str, EvalImages]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of batches when a last batch of a single image is left out."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)


def limited(config: DataConfig, labels: Labels, rows: Indices) -> Indices:
    """The part of ``rows`` (with their ``labels``) that ``train_limit`` leaves.

    Raises :class:`DataError` when there are not so many.
    """
    if config.train_limit is None:
        return rows
    if config.train_limit > len(rows):
        raise DataError(
            f"data.train_limit {config.train_limit}: {config.name} has {len(rows):,} images in "
            f"split {config.train_split!r}"
        )
    return rows[limit(labels, config.train_limit)]
