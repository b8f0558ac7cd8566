"""Small images live on the device as bytes and are augmented there, a batch at a time.

Random crop, flip and normalisation are one gather and one multiply-add, with no worker processes
and no Python loop over images. Shapes: N images, B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from suite.data.base import steps_per_epoch
from suite.distiller import Batch
from suite.rng import generator


@dataclass(frozen=True)
class Pixels:
    """Images as bytes with what normalises them."""

    images: Tensor  # [N, C, H, W] uint8
    labels: Tensor  # [N] int64
    scale: Tensor  # [C, 1, 1]: normalised = byte * scale + shift
    shift: Tensor  # [C, 1, 1]

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, mean: Sequence[float], std: Sequence[float]
    ) -> Pixels:
        """``mean`` and ``std`` per channel refer to pixel values in 0..1."""
        means = torch.tensor(mean).view(-1, 1, 1)
        stds = torch.tensor(std).view(-1, 1, 1)
        return cls(images, labels, 1 / (255 * stds), -means / stds)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Pixels:
        """The same images on ``device``."""
        return Pixels(*(tensor.to(device) for tensor in vars(self).values()))

    def normalise(self, raw: Tensor) -> Tensor:
        """Bytes [B, C, H, W] -> float32 with zero mean and unit variance over the data set."""
        return torch.addcmul(self.shift, raw.float(), self.scale)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All images in order, normalised."""
        rows = torch.arange(len(self), device=self.labels.device)
        for some in torch.split(rows, batch_size):
            yield Batch(self.normalise(self.images[some]), self.labels[some], some)


@dataclass(frozen=True)
class ArrayEval:
    """An evaluation split in device memory."""

    pixels: Pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Self:
        """The same split on ``device``."""
        return replace(self, pixels=self.pixels.to(device))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All images in order."""
        return self.pixels.batches(batch_size)


@dataclass(frozen=True)
class ArrayTrain:
    """A training split in device memory."""

    pixels: Pixels
    padding: int = 0  # random crop out of an image padded by so many zeros on every side
    flip: bool = False  # horizontal flip of every second image

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Self:
        """The same split on ``device``."""
        return replace(self, pixels=self.pixels.to(device))

    def steps(self, batch_size: int) -> int:
        """Batches an epoch."""
        return steps_per_epoch(len(self), batch_size)

    def plain(self, batch_size: int) -> Iterator[Batch]:
        """All images in the order of their index, not augmented."""
        return self.pixels.batches(batch_size)

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
        device = self.pixels.labels.device
        order = torch.randperm(len(self), generator=generator(seed, "order", epoch)).to(device)
        offsets, flips = self._draw(seed, epoch)
        offsets, flips = offsets.to(device), flips.to(device)
        for step in range(first_step, self.steps(batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size][rank::world_size]
            raw = crop_and_flip(self.pixels.images[rows], offsets[rows], flips[rows], self.padding)
            yield Batch(self.pixels.normalise(raw), self.pixels.labels[rows], rows)

    def _draw(self, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Crop offsets [N, 2] in 0..2*padding and flips [N] of one epoch, one draw per image."""
        stream = generator(seed, "augment", epoch)
        offsets = torch.randint(0, 2 * self.padding + 1, (len(self), 2), generator=stream)
        flips = torch.rand(len(self), generator=stream) < 0.5
        return offsets, flips & self.flip


def crop_and_flip(images: Tensor, offsets: Tensor, flips: Tensor, padding: int) -> Tensor:
    """Per image: zero-pad, crop to the old size at ``offsets``, then flip left to right.

    images [B, C, H, W] of any type, offsets [B, 2] (top, left) in 0..2*padding, flips [B] bool;
    the same as torchvision's RandomCrop(H, padding) and RandomHorizontalFlip with these draws.
    """
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    down = offsets[:, :1] + torch.arange(height, device=images.device)  # [B, H]
    right = torch.arange(width, device=images.device).expand(batch, width)
    right = offsets[:, 1:] + torch.where(flips[:, None], width - 1 - right, right)  # [B, W]
    place = down[:, :, None] * padded.shape[3] + right[:, None, :]  # [B, H, W]
    flat = padded.flatten(2)
    return flat.gather(2, place.flatten(1)[:, None].expand(-1, channels, -1)).view_as(images)
