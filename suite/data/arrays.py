"""Small images live on the device as bytes and are augmented there, a batch at a time.

Random crop, flip and normalisation are one gather and one multiply-add, with no worker processes
and no Python loop over images. Shapes: N images, B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from suite.data.base import rank_rows, steps_per_epoch
from suite.data.policies import Policy
from suite.data.views import Change, change
from suite.interface.distiller import Batch
from suite.interface.rng import generator

VALUES_AT_ONCE = 2**24
"""Pixel values augmented together on a GPU: 64 MiB of float32, 85 batches of 64 CIFAR images."""


@dataclass(frozen=True)
class Pixels:
    """Images as bytes in device memory, with what normalises them: an evaluation split."""

    images: Tensor  # [N, C, H, W] uint8
    labels: Tensor  # [N] int64
    scale: Tensor  # [C, 1, 1]: normalised = byte * scale + shift
    shift: Tensor  # [C, 1, 1]

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, mean: Sequence[float], std: Sequence[float]
    ) -> Pixels:
        """``mean`` and ``std`` per channel refer to pixel values in 0..1."""
        means = torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
        stds = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
        return cls(images, labels, (1 / (255 * stds)).float(), (-means / stds).float())

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Pixels:
        """The same images on ``device``."""
        return Pixels(*(tensor.to(device) for tensor in vars(self).values()))

    def normalise(self, raw: Tensor) -> Tensor:
        """Bytes [B, C, H, W] -> float32 with zero mean and unit variance over the data set."""
        return raw.float().mul_(self.scale).add_(self.shift)

    def batches(self, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
        """All images in order, normalised; of several ranks every one has batches of its own."""
        rows = torch.arange(len(self), device=self.labels.device)
        for some in torch.split(rows, batch_size)[rank::world_size]:
            yield Batch(self.normalise(self.images[some]), self.labels[some], some)


class _View(NamedTuple):
    """What one view of an epoch does with each of the N images."""

    offsets: Tensor  # [N, 2] in 0..2*padding: where the crop begins
    flips: Tensor  # [N] bool
    change: Change | None  # what follows


@dataclass(frozen=True)
class ArrayTrain:
    """A training split in device memory."""

    pixels: Pixels
    padding: int = 0  # random crop out of an image padded by so many zeros on every side
    flip: bool = False  # horizontal flip of every second image
    policy: Policy | None = None  # follows in the first view

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Self:
        """The same split on ``device``."""
        return replace(self, pixels=self.pixels.to(device))

    def steps(self, batch_size: int, world_size: int = 1) -> int:
        """Batches an epoch."""
        return steps_per_epoch(len(self), batch_size, world_size)

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
        views: Sequence[str] = (),
        epochs: int | None = None,
    ) -> Iterator[Batch]:
        """Shuffled and augmented batches; a pure function of (seed, epoch) from any step on."""
        device = self.pixels.labels.device
        order = torch.randperm(len(self), generator=generator(seed, "order", epoch)).to(device)
        drawn = [self._view(seed, epoch), *(self._view(seed, epoch, name) for name in views)]
        steps = rank_rows(order, batch_size, first_step, rank, world_size)
        at_once = self._steps_at_once(batch_size // world_size)
        for start in range(0, len(steps), at_once):
            yield from self._augmented(steps[start : start + at_once], drawn, views)

    def _augmented(
        self, steps: Sequence[Tensor], drawn: Sequence[_View], views: Sequence[str]
    ) -> Iterator[Batch]:
        """One batch for each list of rows, made together."""
        rows = torch.cat(list(steps))
        raw = self.pixels.images.index_select(0, rows)  # 4 times faster than images[rows]
        images = [self.pixels.normalise(self._look(raw, rows, view)) for view in drawn]
        sizes = [len(step) for step in steps]
        parts = (self.pixels.labels[rows], rows, *images)
        for label, index, image, *others in zip(
            *(torch.split(part, sizes) for part in parts), strict=True
        ):
            yield Batch(image, label, index, dict(zip(views, others, strict=True)))

    def _look(self, raw: Tensor, rows: Tensor, view: _View) -> Tensor:
        """The images ``raw`` [B, C, H, W], which are those at ``rows``, as the view shows them."""
        if self.padding or self.flip:
            raw = crop_and_flip(raw, view.offsets[rows], view.flips[rows], self.padding)
        if view.change is None:
            return raw
        pairs = zip(raw.cpu(), rows.tolist(), strict=True)
        return torch.stack([view.change(image, row) for image, row in pairs]).to(raw.device)

    def _steps_at_once(self, batch_size: int) -> int:
        """On a GPU many batches are made by one series of kernels, which are small; else one."""
        if self.pixels.labels.device.type == "cpu":
            return 1
        return max(1, VALUES_AT_ONCE // (batch_size * self.pixels.images[0].numel()))

    def _view(self, seed: int, epoch: int, *name: str) -> _View:
        """One draw for every image of an epoch; no name: the first view."""
        offsets, flips = (it.to(self.pixels.labels.device) for it in self._draw(seed, epoch, *name))
        if name:
            return _View(offsets, flips, change(seed, epoch, *name))
        return _View(offsets, flips, self.policy.change(seed, epoch) if self.policy else None)

    def _draw(self, seed: int, epoch: int, *name: str) -> tuple[Tensor, Tensor]:
        """Crop offsets [N, 2] in 0..2*padding and flips [N] of a view, one draw per image."""
        stream = generator(seed, "augment", epoch, *name)
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
