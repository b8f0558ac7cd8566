"""Gradient accumulation: the batch of an optimizer step in parts that fit into memory.

Shapes: R images of a step on this rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from suite.config import TrainConfig
from suite.interface.distiller import Batch
from suite.interface.errors import UserError

FEWEST = 2
"""Images of a part on each device: batch normalisation cannot train on one."""


class MicroBatch(NamedTuple):
    """A part of a step's batch, or all of it."""

    batch: Batch
    share: float = 1.0
    """Of the step's images: the weight of its gradient."""
    last: bool = True
    """Whether the optimizer steps after it."""


def micro_batch_size(train: TrainConfig, world_size: int = 1) -> int:
    """Images that each of ``world_size`` devices computes at once in a full step.

    Raises :class:`UserError` when the parts cannot be shared out evenly.
    """
    at_once = train.batch_size // train.accumulate
    if train.accumulate > 1 and (at_once % world_size or at_once < FEWEST * world_size):
        raise UserError(
            f"train.accumulate {train.accumulate}: leaves {at_once} images of train.batch_size "
            f"{train.batch_size} for each part; with {world_size} devices it must be a multiple of "
            f"{world_size} with at least {FEWEST} images for each"
        )
    return at_once // world_size


def micro_batches(batch: Batch, size: int) -> Iterator[MicroBatch]:
    """A batch [R] in order, in as few parts of at most ``size`` images as there can be.

    Sizes differ by one image at most, so that only the last batch of an epoch has other parts than
    the rest. None has a single image: three images in parts of two are one part.
    """
    images = len(batch)
    parts = min(math.ceil(images / size), images // FEWEST)
    if parts <= 1:
        yield MicroBatch(batch)
        return
    for number, rows in enumerate(torch.arange(images).tensor_split(parts), start=1):
        some = _between(batch, int(rows[0]), int(rows[-1]) + 1)
        yield MicroBatch(some, len(rows) / images, last=number == parts)


def _between(batch: Batch, start: int, end: int) -> Batch:
    """The images from ``start`` to before ``end``, in the same memory."""
    return replace(
        batch,
        image=batch.image[start:end],
        label=batch.label[start:end],
        index=batch.index[start:end],
        views={name: view[start:end] for name, view in batch.views.items()},
        target=None if batch.target is None else batch.target[start:end],
    )


class WeightedSum:
    """The sum of the gradients of a step's parts, each weighted by its share of the images.

    It holds memory of its own: what it takes in may be overwritten by the next part.
    """

    def __init__(self) -> None:
        self._sum: list[Tensor | None] = []

    def add(self, gradients: Sequence[Tensor | None], share: float) -> None:
        """Take in the gradients of a part; None where it reaches a parameter not at all."""
        if not self._sum:
            self._sum = [None] * len(gradients)
        for place, (known, gradient) in enumerate(zip(self._sum, gradients, strict=True)):
            if gradient is not None and known is None:
                self._sum[place] = torch.zeros_like(gradient)
        sums, given = [], []
        for known, gradient in zip(self._sum, gradients, strict=True):
            if known is not None and gradient is not None:
                sums.append(known)
                given.append(gradient)
        if given:
            torch._foreach_add_(sums, given, alpha=share)

    def take(self) -> list[Tensor | None]:
        """The sum, which is then empty."""
        whole, self._sum = self._sum, []
        return whole
