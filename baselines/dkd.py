"""DKD: the KD loss taken apart into target and non-target classes, each with its own weight.

Everything is computed from log-odds and log-softmax over the non-target classes. The reference
code takes the logarithm of probabilities, which underflow, and hides the target class by
subtracting 1000 from its logit, which shows again when that logit leads by more.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._decoupled import decouple, nckd_loss, tckd_loss
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs


def dkd_terms(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD, both times T^2 as in mdistiller; logits [B, K], label [B]."""
    student = decouple(student_logits, label, temperature)
    teacher = decouple(teacher_logits, label, temperature)
    scale = temperature**2
    return scale * tckd_loss(student, teacher), scale * nckd_loss(student, teacher)


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    alpha: float,
    beta: float,
    temperature: float,
) -> Tensor:
    """alpha TCKD + beta NCKD (Zhao et al. 2022, eq. 7); logits [B, K], label [B]."""
    tckd, nckd = dkd_terms(student_logits, teacher_logits, label, temperature)
    return alpha * tckd + beta * nckd


class DKDConfig(MethodConfig):
    """CIFAR-100 values of mdistiller; beta differs by pair there, from 2 to 8."""

    temperature: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    alpha: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)  # Zhao et al. 2022, Table 3
    beta: float = tunable(8.0, low=0.25, high=16.0, log=True, ge=0)  # res32x4 to res8x4
    warmup_epochs: int = 20  # mdistiller; ImageNet 1


class DKD(Distiller):
    """Decoupled knowledge distillation on logits."""

    paper = Paper(
        authors="Borui Zhao and Quan Cui and Renjie Song and Yiyu Qiu and Jiajun Liang",
        title="Decoupled Knowledge Distillation",
        venue="CVPR",
        year=2022,
        arxiv="2203.08679",
    )
    reads = Reads.LOGITS
    Config = DKDConfig
    config: DKDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``tckd`` and ``nckd``; the last two grow over the warm-up."""
        settings = self.config
        tckd, nckd = dkd_terms(student.logits, teacher.logits, batch.label, settings.temperature)
        warmup = progress.warmup(settings.warmup_epochs)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "tckd": warmup * settings.alpha * tckd,
            "nckd": warmup * settings.beta * nckd,
        }
