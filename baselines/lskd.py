"""LSKD: a method of logits on standardized logits: their mean and scale need not be the teacher's.

The cross-entropy with the labels keeps the raw logits. A method of its own, and not an option of
each base, so that the base methods' runs stay what they are.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from baselines import mlkd
from baselines._standardize import Variant, standardize
from baselines.dkd import dkd_loss
from baselines.kd import kd_loss
from baselines.rld import rld_loss
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

LogitBase = Literal["kd", "dkd", "rld"]
Base = Literal["kd", "dkd", "rld", "mlkd"]
CE_WEIGHT = {"kd": 0.1, "dkd": 1.0, "rld": 1.0, "mlkd": 0.1}  # of the base methods
WARMUP_EPOCHS = {"kd": 0, "dkd": 20, "rld": 20, "mlkd": 0}


def lskd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    base: LogitBase,
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
    show 1 to 18. MLKD standardizes for its KD terms alone, and T is the first of its five."""
    alpha: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)  # of TCKD or SCD; none in KD
    beta: float = tunable(8.0, low=0.25, high=16.0, log=True, ge=0)  # of NCKD or MCD; none in KD
    ce_weight: float | None = Field(None, ge=0)
    """None: the base's, 0.1 for KD and MLKD, 1 for DKD and RLD."""
    warmup_epochs: int | None = Field(None, ge=0)
    """None: the base's, none for KD and MLKD, 20 for DKD and RLD."""


class LSKD(Distiller):
    """Logit standardization before KD, DKD, RLD or MLKD."""

    paper = Paper(
        authors="Shangquan Sun and Wenqi Ren and Jingzhi Li and Rui Wang and Xiaochun Cao",
        title="Logit Standardization in Knowledge Distillation",
        venue="CVPR",
        year=2024,
        arxiv="2403.01427",
    )
    reads = Reads.LOGITS
    Config = LSKDConfig
    config: LSKDConfig

    def views(self) -> tuple[str, ...]:
        """MLKD's strong one."""
        return (mlkd.STRONG,) if self.config.base == "mlkd" else ()

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and the base's distillation loss under its name: ``kd``, ``dkd`` ..."""
        settings = self.config
        base, ce_weight, epochs = settings.base, settings.ce_weight, settings.warmup_epochs
        warmup = progress.warmup(WARMUP_EPOCHS[base] if epochs is None else epochs)
        if base == "mlkd":
            ce = mlkd.label_loss(mlkd.both_views(student), batch.truth)
            distance = self._mlkd_loss(student, teacher)
        else:
            ce = functional.cross_entropy(student.logits, batch.truth)
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
        return {
            "ce": (CE_WEIGHT[base] if ce_weight is None else ce_weight) * ce,
            base: warmup * settings.weight * distance,
        }

    def _mlkd_loss(self, student: Outputs, teacher: Outputs) -> Tensor:
        settings = self.config
        terms = mlkd.code_terms(
            mlkd.both_views(student),
            mlkd.both_views(teacher),
            (settings.temperature, *mlkd.FURTHER_TEMPERATURES),
            self.gather,
            partial(standardize, variant=settings.variant),
        )
        return torch.stack(list(terms.values())).sum()
