"""SRD: a linear projector, batch normalisation on both sides and the logarithm of a distance.

The simple recipe of a study of projectors: the projector's weights relate student and teacher, the
normalisation keeps the student's feature from collapsing, the logarithm softens the distance.

Shapes: B batch, D_s and D_t widths of the pooled features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import VectorBatchNorm
from baselines._losses import in_float32, unit_rows
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

POWER = 4  # alpha of the paper, imagenet/torchdistill/losses/single.py
NORM_EPSILON = 1e-4  # of both normalisations, imagenet/torchdistill/losses/single.py
FLOOR = 1e-5  # in the logarithm, deit/models.py

Form = Literal["imagenet", "deit"]


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """log sum_{b,d} |student - teacher|^4 of normalised features [B, D] (form ``imagenet``).

    The sum, and not a mean: the logarithm makes the number of entries a constant. Equal features
    give the logarithm of the least normal float and no gradient; the reference gives -inf.
    """
    total = (in_float32(student) - in_float32(teacher)).abs().pow(POWER).sum()
    return total.clamp(min=torch.finfo(total.dtype).tiny).log()


def correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """log(sum_d |r_d - 1|^4 + 1e-5), r_d the correlation of dimension d over the batch (``deit``).

    Features [B, D]. A dimension that is constant over the batch has r = 0.
    """
    student, teacher = in_float32(student), in_float32(teacher)
    columns = [unit_rows((features - features.mean(0)).T) for features in (student, teacher)]
    correlation = (columns[0] * columns[1]).sum(1)
    return ((correlation - 1).abs().pow(POWER).sum() + FLOOR).log()


class NormalizedDistance(nn.Module):
    """Projector, two normalisations without weights, and one of the two losses."""

    def __init__(self, student: int, teacher: int) -> None:
        super().__init__()
        self.embed = nn.Linear(student, teacher)
        self.bn_s = VectorBatchNorm(teacher, eps=NORM_EPSILON, affine=False)
        self.bn_t = VectorBatchNorm(teacher, eps=NORM_EPSILON, affine=False)

    def normalized(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """[B, D_s] and [B, D_t] -> both [B, D_t], normalised over the batch; moves the figures."""
        return self.bn_s(self.embed(student)), self.bn_t(teacher)


class SRDConfig(MethodConfig):
    """ImageNet values of Simple-Recipe-Distillation; there are none for CIFAR."""

    form: Form = "imagenet"
    """``imagenet``, the paper's: distance of normalised features; ``deit``: correlations."""
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    kd_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    kd_temperature: float = Field(1.0, gt=0)
    srd_weight: float = tunable(2.0, low=0.1, high=10.0, log=True, ge=0)  # DeiT 1


class SRD(Distiller):
    """Simple recipe distillation on the pooled features, with KD."""

    paper = Paper(
        authors="Roy Miles and Krystian Mikolajczyk",
        title="Understanding the Role of the Projector in Knowledge Distillation",
        venue="AAAI",
        year=2024,
        arxiv="2303.11098",
    )
    taps = ("pooled",)
    Config = SRDConfig
    config: SRDConfig

    def __init__(self, config: SRDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        (own,), (width,) = (
            setup.student.shapes["pooled"],
            setup.require_teacher().shapes["pooled"],
        )
        self.projector = NormalizedDistance(own, width)

    @classmethod
    def reads_with(cls, config: SRDConfig) -> Reads:
        """Features, and logits for ``kd``."""
        return Reads.FEATURES | (Reads.LOGITS if config.kd_weight > 0 else Reads(0))

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``srd`` and, when it has a weight, ``kd``.

        Sums and correlations are over the batch of all ranks.
        """
        settings = self.config
        terms = {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
        }
        if settings.kd_weight > 0:
            divergence = kd_loss(student.logits, teacher.logits, settings.kd_temperature)
            terms["kd"] = settings.kd_weight * divergence
        terms["srd"] = settings.srd_weight * self._distance(student["pooled"], teacher["pooled"])
        return terms

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.config.form == "deit":
            return correlation_loss(
                self.gather(self.projector.embed(student)), self.gather(teacher)
            )
        own, theirs = self.projector.normalized(student, teacher)
        return distance_loss(self.gather(own), self.gather(theirs))
