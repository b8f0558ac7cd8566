"""VkD: an orthonormal projector takes the student's feature to the teacher's normalised one.

A projector that keeps lengths and angles cannot do the student's work. The reference trains DeiT,
whose distillation token has a classifier of its own for the KL term; here the network is any timm
classifier and that term acts on its one head.

Shapes: B batch, D_s and D_t widths of the mean of the last map over its positions.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import shape_of
from baselines._losses import in_float32
from baselines.kd import kd_loss
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

Variant = Literal["code", "paper"]
TAYLOR_TERMS = 6
SQUARINGS = 6  # exp(A) = exp(A / 2^6)^(2^6): exact to float32 up to a norm of A of some 20


def vkd_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 between projected features and layer-normalised teacher features, both [B, D_t].

    Mean over all entries; the projected ones are not normalised.
    """
    teacher = in_float32(teacher)
    return functional.smooth_l1_loss(
        in_float32(projected), functional.layer_norm(teacher, teacher.shape[1:])
    )


class OrthonormalProjector(nn.Module):
    """x [B, D_s] -> x W^T; W [D_t, D_s] has orthonormal columns, or rows where D_s > D_t.

    Both kinds work by products of matrices and reflections alone, so nothing waits for the device.
    The optimizer sees unconstrained numbers; weight decay pulls W towards its start.
    """

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.wide = student > teacher
        self.long, self.short = max(student, teacher), min(student, teacher)

    def columns(self) -> Tensor:
        """Orthonormal columns [larger width, smaller width]."""
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:
        """W [D_t, D_s]."""
        columns = self.columns()
        return columns.T if self.wide else columns

    def forward(self, features: Tensor) -> Tensor:
        """[B, D_s] -> [B, D_t]."""
        return functional.linear(features, self.weight)


class Reflections(OrthonormalProjector):
    """A product of Householder reflections, applied to a random orthogonal matrix.

    torch's ``parametrizations.orthogonal`` keeps signs in the trained diagonal and reads them by
    ``int()``: weight decay makes -1 into -0.9999, int() makes that 0, and W vanishes after the
    first step. Here the diagonal has no part.
    """

    base: Tensor  # [larger, larger]

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__(student, teacher)
        self.reflectors = nn.Parameter(torch.zeros(self.long, self.short))
        self.register_buffer("base", nn.init.orthogonal_(torch.empty(self.long, self.long)))

    def columns(self) -> Tensor:
        """Those of ``base`` at the start."""
        below = self.reflectors.tril(-1)  # each reflector has a 1 above its entries
        scale = 2 / (1 + below.square().sum(0))
        reflected: Tensor = torch.linalg.householder_product(below, scale)
        return -self.base @ reflected


class Exponential(OrthonormalProjector):
    """Columns of exp(A) with A skew-symmetric, by a truncated series and repeated squaring."""

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__(student, teacher)
        self.generator = nn.Parameter(torch.randn(self.long, self.long) / self.long**0.5)

    def columns(self) -> Tensor:
        """Orthonormal up to the truncation, see :data:`SQUARINGS`."""
        upper = self.generator.triu(1)
        scaled = (upper - upper.T) / 2**SQUARINGS
        term = torch.eye(self.long, dtype=scaled.dtype, device=scaled.device)
        total = term
        for order in range(1, TAYLOR_TERMS + 1):
            term = term @ scaled / order
            total = total + term
        for _ in range(SQUARINGS):
            total = total @ total
        return total[:, : self.short]


PROJECTORS: dict[Variant, type[OrthonormalProjector]] = {"code": Reflections, "paper": Exponential}


class VkDConfig(MethodConfig):
    """Values of roymiles/vkd for DeiT on ImageNet; there are none for CIFAR."""

    variant: Variant = "code"
    """How the projector is kept orthonormal: ``code`` by Householder reflections (the reference
    takes a matrix exponential for equal widths, which waits for the device), ``paper`` by a
    truncated matrix exponential."""
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    kd_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)  # gamma
    kd_temperature: float = Field(1.0, gt=0)
    vkd_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)  # alpha


class VkD(Distiller):
    """Orthogonal projection of the last features, with KD."""

    paper = Paper(
        authors="Roy Miles and Ismail Elezi and Jiankang Deng",
        title="VkD: Improving Knowledge Distillation using Orthogonal Projections",
        venue="CVPR",
        year=2024,
        arxiv="2403.06213",
    )
    taps = ("map",)
    Config = VkDConfig
    config: VkDConfig

    def __init__(self, config: VkDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        own = shape_of(setup.student, "map", "student")[0]
        width = shape_of(setup.require_teacher(), "map", "teacher")[0]
        self.projector = PROJECTORS[config.variant](own, width)

    @classmethod
    def reads_with(cls, config: VkDConfig) -> Reads:
        """Features, and logits for ``kd``."""
        return Reads.FEATURES | (Reads.LOGITS if config.kd_weight > 0 else Reads(0))

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``vkd`` and, when it has a weight, ``kd``."""
        settings = self.config
        projected = self.projector(student["map"].mean((2, 3)))
        distance = vkd_loss(projected, teacher["map"].mean((2, 3)))
        terms = {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
        }
        if settings.kd_weight > 0:
            divergence = kd_loss(student.logits, teacher.logits, settings.kd_temperature)
            terms["kd"] = settings.kd_weight * divergence
        terms["vkd"] = settings.vkd_weight * distance
        return terms
