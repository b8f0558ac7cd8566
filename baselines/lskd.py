"""LSKD: a method of logits on standardized logits: their mean and scale need not be the teacher's.

The cross-entropy with the labels keeps the raw logits. A method of its own, and not an option of
each base, so that the base methods' runs stay what they are.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from baselines._standardize import Variant, standardize
from baselines.dkd import dkd_loss
from baselines.kd import kd_loss
from baselines.rld import rld_loss
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, tunable
from suite.interface.taps import Outputs

Base = Literal["kd", "dkd", "rld"]
CE_WEIGHT = {"kd": 0.1, "dkd": 1.0, "rld": 1.0}  # of the base methods
WARMUP_EPOCHS = {"kd": 0, "dkd": 20, "rld": 20}


def lskd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    base: Base,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
    variant: Variant = "code",
) -> Tensor:
    """The base's loss of standardized logits [B, K] at temperature T; label [B].

    KD's, DKD's with ``alpha`` and ``beta``, or RLD's with both and T for both its temperatures.
    """
    student, teacher = standardize(student_logits, variant), standardize(teacher_logits, variant)
    if base == "kd":
        return kd_loss(student, teacher, temperature)
    compare = dkd_loss if base == "dkd" else rld_loss
    return compare(student, teacher, label, alpha, beta, temperature)


class LSKDConfig(MethodConfig):
    """CIFAR-100 values of logit-standardization-KD's launcher (``--base-temp 2 --kd-weight 9``)."""

    base: Base = "kd"
    variant: Variant = "code"
    """What divides the squares: K - 1 classes (``code``) or K (``paper``)."""
    temperature: float = tunable(2.0, low=1.0, high=8.0, log=True, gt=0)
    """Their log names show 2 to 4, by pair."""
    weight: float = tunable(9.0, low=1.0, high=18.0, log=True, ge=0)
    """Multiplies the loss of the base: 9 KD, or alpha 9 and beta 72 for DKD. Their log names
    show 1 to 18."""
    alpha: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)  # of TCKD or SCD; none in KD
    beta: float = tunable(8.0, low=0.25, high=16.0, log=True, ge=0)  # of NCKD or MCD; none in KD
    ce_weight: float | None = Field(None, ge=0)
    """None: the base's, 0.1 for KD, 1 for DKD and RLD."""
    warmup_epochs: int | None = Field(None, ge=0)
    """None: the base's, none for KD, 20 for DKD and RLD."""


class LSKD(Distiller):
    """Logit standardization before KD, DKD or RLD."""

    paper = (
        "Sun et al.: Logit Standardization in Knowledge Distillation, CVPR 2024 (arXiv 2403.01427)"
    )
    Config = LSKDConfig
    config: LSKDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and the base's distillation loss under its name: ``kd``, ``dkd`` or ``rld``."""
        settings = self.config
        base, ce_weight, epochs = settings.base, settings.ce_weight, settings.warmup_epochs
        warmup = progress.warmup(WARMUP_EPOCHS[base] if epochs is None else epochs)
        distance = lskd_loss(
            student.logits,
            teacher.logits,
            batch.label,
            base,
            settings.temperature,
            settings.alpha,
            settings.beta,
            settings.variant,
        )
        ce = functional.cross_entropy(student.logits, batch.label)
        return {
            "ce": (CE_WEIGHT[base] if ce_weight is None else ce_weight) * ce,
            base: warmup * settings.weight * distance,
        }
