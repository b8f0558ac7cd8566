"""WKD-F: the student's last map has the mean and deviation of the teacher's, channel by channel.

The distance is Wasserstein's between normal distributions with diagonal covariance, fitted to the
pixels of each image (of each cell of a grid on it).

Shapes: B batch, C channels, H and W height and width, G grid.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm, ConvReg, pool_to_smaller, shape_of
from baselines._losses import in_float32
from baselines._schedules import cosine_decay
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    UnsupportedPair,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

EPSILON = 1e-5  # beside the variance, JiamingLv/WKD distillers/WKD.py
INNER_WIDTH = 256  # of the bottleneck


def cells(height: int, width: int, grid: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the G x G cells, as adaptive pooling has them: they may overlap.

    Raises :class:`UnsupportedPair` when a cell is a single pixel, which has no variance; the
    reference gives nan.
    """

    def parts(size: int) -> list[slice]:
        return [slice(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]

    cell_slices = [(rows, columns) for rows in parts(height) for columns in parts(width)]
    if any((r.stop - r.start) * (c.stop - c.start) == 1 for r, c in cell_slices):
        raise UnsupportedPair(
            f"wkd_f: a map of {height}x{width} in {grid}x{grid} cells has cells of one pixel, "
            "which have no variance; use a smaller grid, or networks with larger maps"
        )
    return cell_slices


def moments(maps: Tensor, grid: int = 1, epsilon: float = EPSILON) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(variance + epsilon) of each cell of [B, C, H, W], both [B, C, G * G]."""
    maps = in_float32(maps)
    parts = [maps[:, :, r, c].flatten(2) for r, c in cells(maps.shape[2], maps.shape[3], grid)]
    mean = torch.stack([part.mean(2) for part in parts], 2)
    variance = torch.stack([part.var(2) for part in parts], 2)  # of the sample
    return mean, (variance + epsilon).sqrt()


def wkd_feature_terms(
    student: Tensor, teacher: Tensor, grid: int = 1, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor]:
    """Squared differences of means and of deviations, maps [B, C, H, W] x 2.

    Summed over channels, mean over cells and batch.
    """
    (mean_s, deviation_s), (mean_t, deviation_t) = (
        moments(maps, grid, epsilon) for maps in (student, teacher)
    )
    share = 1 / (len(student) * grid**2)
    means = (mean_s - mean_t).square().sum()
    return share * means, share * (deviation_s - deviation_t).square().sum()


class Bottleneck(nn.Sequential):
    """1x1 to 256 channels, 3x3, 1x1 to the teacher's, then batch normalisation and ReLU."""

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__(
            nn.Conv2d(student, INNER_WIDTH, 1),
            nn.Conv2d(INNER_WIDTH, INNER_WIDTH, 3, padding=1),
            nn.Conv2d(INNER_WIDTH, teacher, 1),
            BatchNorm(teacher),
            nn.ReLU(),
        )


class WKDFConfig(MethodConfig):
    """CIFAR-100 values of JiamingLv/WKD for res32x4 to res8x4; others beside them."""

    projector: Literal["conv1x1", "bottleneck"] = "conv1x1"
    """``conv1x1``: FitNet's regressor (CIFAR); ``bottleneck``: ImageNet."""
    grid: int = Field(1, ge=1, le=32)  # WRN-40-2 to ShuffleV1 and ImageNet 4
    wkd_weight: float = tunable(0.08, low=0.005, high=1.0, log=True, ge=0)
    """WRN-40-2 to ShuffleV1 0.3; ImageNet 0.02 (R34 to R18), 0.005 (R50 to MobileNetV1)."""
    mean_ratio: float = tunable(4.0, low=0.5, high=16.0, log=True, ge=0)
    """Weight of the means over that of the deviations. WRN 3, ImageNet 2."""
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    decay_after: int = Field(150, ge=0)
    """Last epoch of the full weight, which then decays to 0. ImageNet 0, R50 to MobileNetV1 30."""


class WKDF(Distiller):
    """Wasserstein distillation on the last feature map."""

    paper = Paper(
        authors="Jiaming Lv and Haoyuan Yang and Peihua Li",
        title="Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        venue="NeurIPS",
        year=2024,
        arxiv="2412.08139",
    )
    reads = Reads.FEATURES
    taps = ("map",)
    Config = WKDFConfig
    config: WKDFConfig

    def __init__(self, config: WKDFConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        own = shape_of(setup.student, "map", "student")
        theirs = shape_of(setup.require_teacher(), "map", "teacher")
        bottleneck = config.projector == "bottleneck"
        self.projector: ConvReg | Bottleneck = (
            Bottleneck(own[0], theirs[0]) if bottleneck else ConvReg(own, theirs)
        )
        compared = [min(sizes) for sizes in zip(own[1:], theirs[1:], strict=True)]
        if not bottleneck and self.projector.pool_to is None:
            compared = list(theirs[1:])
        cells(compared[0], compared[1], config.grid)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``mean`` and ``deviation``; maps of unequal sizes are pooled to the smaller."""
        settings = self.config
        maps = pool_to_smaller(self.projector(student["map"]), teacher["map"])
        mean, deviation = wkd_feature_terms(*maps, settings.grid)
        weight = settings.wkd_weight * cosine_decay(progress, settings.decay_after)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "mean": weight * settings.mean_ratio * mean,
            "deviation": weight * deviation,
        }
