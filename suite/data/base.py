"""What the engine asks of a data set, and how an epoch is cut into batches.

Shapes: N training images, M images of an evaluation split, B images of a global batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from suite.interface.distiller import Batch
from suite.interface.errors import UserError


class DataError(UserError):
    """A data set is missing, damaged or too small; the message says what to put where."""


class EvalImages(Protocol):
    """A split that is only looked at."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        ...

    @property
    def labels(self) -> Tensor:
        """[M] int64, in the order of the split; no image is read for it."""
        ...

    def batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """All images in order, not augmented; ``index`` is the position in the split.

        Of ``world_size`` ranks each gets every ``world_size``-th batch and reads no other image.
        """
        ...


class TrainImages(Protocol):
    """The training split. An epoch is a pure function of (seed, epoch)."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """The same split with its batches on ``device``."""
        ...

    def steps(self, batch_size: int, world_size: int = 1) -> int:
        """Batches an epoch, see :func:`steps_per_epoch`."""
        ...

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
        """Shuffled and augmented batches from ``first_step`` on, see :func:`rank_rows`.

        Of ``epochs`` the next may be begun before it is asked for; no batch depends on it.
        ``views`` are names of further views, see :mod:`suite.data.views`. Neither the first view
        nor any other depends on which are asked for beside it.
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
    mean: tuple[float, ...]  # of each channel, for pixel values in 0..1: what images are
    std: tuple[float, ...]  # normalised with
    class_names: tuple[str, ...] = ()  # of image folders, in the order of the labels
    close: Callable[[], None] = lambda: None
    """Ends the processes that decode images; those who ask for images later start others."""


def steps_per_epoch(images: int, batch_size: int, world_size: int = 1) -> int:
    """Batches an epoch: the last may be smaller, as is the habit of the field.

    A last batch that leaves a rank fewer than two images is left out, since batch normalisation
    cannot train on one.
    """
    full, rest = divmod(images, batch_size)
    return full + (rest // world_size > 1)


def rank_rows(
    order: Tensor, batch_size: int, first_step: int = 0, rank: int = 0, world_size: int = 1
) -> list[Tensor]:
    """What one of ``world_size`` ranks trains on in each step from ``first_step`` on.

    ``order`` [N] is the epoch's order of images. Step s has the global batch order[sB : (s+1)B],
    and rank r of w takes its images r, r + w, r + 2w, ...; all ranks get equally many, for which
    the last batch may lose up to w - 1 images. Raises :class:`DataError` when the batch cannot be
    shared out evenly, or when the images do not make a single step.
    """
    if batch_size % world_size or batch_size < 2 * world_size:
        raise DataError(
            f"train.batch_size {batch_size}: with {world_size} devices it must be a multiple of "
            f"{world_size} with at least 2 images for each"
        )
    steps = steps_per_epoch(len(order), batch_size, world_size)
    if steps == 0:
        raise DataError(f"{len(order)} training images on {world_size} devices make no step")
    parts = torch.split(order, batch_size)[first_step:steps]
    return [part[rank : len(part) - len(part) % world_size : world_size] for part in parts]
