"""RSD: the student's feature correlates with the teacher's, each dimension with its own alone.

The cross-correlation of the projected student feature and the teacher's feature over the batch
becomes the identity: what both architectures see stays, what repeats itself goes.

Shapes: B batch, D_s and D_t widths of the pooled features.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import VectorBatchNorm
from baselines._losses import in_float32
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

EPSILON = 1e-5  # beside the standard deviation, spacewanderx/RSD distillers/rsd.py
INITIAL_STD = 0.02  # of the projector's weights, as there


def standardized_columns(features: Tensor) -> Tensor:
    """features [B, D] with mean 0 and (population) deviation 1 in every column over the batch."""
    centred = features - features.mean(0)
    return centred / (features.std(0, correction=0) + EPSILON)


def rsd_loss(student: Tensor, teacher: Tensor, kappa: float) -> Tensor:
    """sum_i (C_ii - 1)^2 + kappa sum_{i != j} C_ij^2 of the cross-correlation C [D, D].

    Features [B, D] of one width. With fewer images than D + 1 the least value is above 0; with one
    image C is 0 and the loss is the constant D. A dimension that is constant over the batch costs
    1, and a student's gets a gradient of the order of 1 / EPSILON.
    """
    student, teacher = in_float32(student), in_float32(teacher)
    correlation = standardized_columns(teacher).T @ standardized_columns(student) / len(student)
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return (diagonal - 1).square().sum() + kappa * others


class Projector(nn.Sequential):
    """Linear, batch normalisation, GELU, linear (no biases): D_s -> ``expansion`` D_s -> D_t."""

    def __init__(self, student: int, teacher: int, expansion: int) -> None:
        inner = expansion * student
        super().__init__(
            nn.Linear(student, inner, bias=False),
            VectorBatchNorm(inner),
            nn.GELU(),
            nn.Linear(inner, teacher, bias=False),
        )
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)


class RSDConfig(MethodConfig):
    """Values of spacewanderx/RSD's train.py (``--rsd-*``), which adds label smoothing 0.1."""

    expansion: int = Field(2, ge=1, le=64)
    """The projector is so many times wider inside than the student's feature."""
    kappa: float = tunable(0.01, low=1e-3, high=0.1, log=True, ge=0)
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    rsd_weight: float = tunable(0.1, low=0.01, high=1.0, log=True, ge=0)


class RSD(Distiller):
    """Redundancy suppression distillation on the pooled features."""

    paper = Paper(
        authors="Weijia Zhang and Yuehao Liu and Wu Ran and Chao Ma",
        title="Cross-Architecture Distillation Made Simple with Redundancy Suppression",
        venue="ICCV",
        year=2025,
        arxiv="2507.21844",
    )
    reads = Reads.FEATURES
    taps = ("pooled",)
    Config = RSDConfig
    config: RSDConfig

    def __init__(self, config: RSDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        (own,), (width,) = (
            setup.student.shapes["pooled"],
            setup.require_teacher().shapes["pooled"],
        )
        self.projector = Projector(own, width, config.expansion)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``rsd``; the correlation is that of the whole batch of all ranks."""
        settings = self.config
        projected = self.gather(self.projector(student["pooled"]))
        distance = rsd_loss(projected, self.gather(teacher["pooled"]), settings.kappa)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "rsd": settings.rsd_weight * distance,
        }
