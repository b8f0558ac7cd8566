"""Features at unit scale, and figures that show whether they stay healthy.

Shapes: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._losses import TINY

VARIANCE_FLOOR = 1e-8
"""Keeps features that are constant from being divided by zero."""


class RunningScale(nn.Module):
    """Features brought to mean 0 per channel (``centred``) and mean square 1, by running figures.

    The figures are exponential averages over batches, without bias towards their start; one scale
    for all channels keeps angles. The inverse is exact.
    """

    mean_sum: Tensor  # [C]
    square_sum: Tensor  # [C]
    weight_sum: Tensor  # scalar, tends to 1

    def __init__(
        self, channels: int, gather: Callable[[Tensor], Tensor], *, centred: bool, momentum: float
    ) -> None:
        super().__init__()
        self._gather = gather
        self.centred = centred
        self.momentum = momentum
        self.register_buffer("mean_sum", torch.zeros(channels))
        self.register_buffer("square_sum", torch.zeros(channels))
        self.register_buffer("weight_sum", torch.zeros(()))

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take in one batch [B, C, H, W]; all ranks together."""
        means = self._gather(features.mean((2, 3))).mean(0)
        squares = self._gather(features.square().mean((2, 3))).mean(0)
        self.mean_sum.lerp_(means.to(self.mean_sum.dtype), self.momentum)
        self.square_sum.lerp_(squares.to(self.square_sum.dtype), self.momentum)
        self.weight_sum.lerp_(torch.ones_like(self.weight_sum), self.momentum)

    def figures(self) -> tuple[Tensor, Tensor]:
        """Mean [C] (zeros unless ``centred``) and scale (scalar) of the features so far."""
        weight = self.weight_sum.clamp(min=torch.finfo(self.weight_sum.dtype).tiny)
        mean = self.mean_sum / weight if self.centred else torch.zeros_like(self.mean_sum)
        variance = (self.square_sum / weight - mean.square()).clamp(min=0).mean()
        return mean, (variance + VARIANCE_FLOOR).sqrt()

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> normalised; gradients pass, the figures get none."""
        mean, scale = self.figures()
        return (features - mean[:, None, None]) / scale

    def undo(self, normalised: Tensor) -> Tensor:
        """The inverse."""
        mean, scale = self.figures()
        return normalised * scale + mean[:, None, None]


def feature_health(
    read: Callable[[Tensor], Tensor], original: Tensor, denoised: Tensor, label: Tensor
) -> dict[str, Tensor]:
    """How normalised features [B, C, H, W] before and after denoising compare; scalars.

    ``read`` is the teacher's classifier of such features, [B, C, H, W] -> logits [B, K].
    ``effective_dimensions`` is the participation ratio of the pooled originals' covariance (1: all
    on a line; at most B - 1), ``spread`` their root mean square distance from the mean.
    """
    x, y = original.mean((2, 3)), denoised.mean((2, 3))  # [B, C]
    centred = x - x.mean(0)
    gram = centred @ centred.T  # [B, B], has the spectrum of the covariance
    return {
        "original_head_top1_percent": _top1_percent(read(original), label),
        "denoised_head_top1_percent": _top1_percent(read(denoised), label),
        "cosine": functional.cosine_similarity(x, y).mean(),
        "norm_ratio": y.norm() / x.norm().clamp(min=TINY),
        "effective_dimensions": gram.trace().square() / gram.square().sum().clamp(min=TINY),
        "spread": centred.square().mean().sqrt(),
    }


def _top1_percent(logits: Tensor, label: Tensor) -> Tensor:
    return 100 * (logits.argmax(1) == label).float().mean()
