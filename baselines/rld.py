"""RLD: the student is as sure of the label as the teacher of its choice, and ranks what is below.

Two parts. Sample confidence: the teacher's probability of its top class, right or wrong, is the
aim for the student's probability of the label. Masked correlation: a divergence over the classes
that the teacher ranks below the label, so that its errors are not taught.

Shapes: B batch, K classes.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from baselines._decoupled import decouple, tckd_loss
from baselines._losses import in_float32
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs


def confidence_loss(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, temperature: float
) -> Tensor:
    """KL of (p_t(top), 1 - p_t(top)) and (p_s(label), 1 - p_s(label)), mean over the batch.

    logits [B, K], label [B]; from log-odds, so that no probability underflows.
    """
    top = teacher_logits.argmax(1)
    student = decouple(student_logits, label, temperature)
    return tckd_loss(student, decouple(teacher_logits, top, temperature))


def ranked_above(teacher_logits: Tensor, label: Tensor) -> Tensor:
    """[B, K] bool: the label, and the classes that the teacher ranks at or above it."""
    return teacher_logits >= teacher_logits.gather(1, label[:, None])


def masked_correlation_loss(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, temperature: float
) -> Tensor:
    """KL of the softmaxes over the classes below the label for the teacher, mean over the batch.

    logits [B, K], label [B]. Images whose label comes last for the teacher count as 0.
    """
    student_logits, teacher_logits = in_float32(student_logits), in_float32(teacher_logits)
    above = ranked_above(teacher_logits, label)
    hidden = above & ~above.all(1, keepdim=True)  # a softmax needs one class at least

    def log_probabilities(logits: Tensor) -> Tensor:
        below = (logits / temperature).masked_fill(hidden, -math.inf)
        return functional.log_softmax(below, 1).masked_fill(above, 0.0)

    student, teacher = log_probabilities(student_logits), log_probabilities(teacher_logits)
    return (teacher.exp() * (teacher - student)).sum(1).mean()


def rld_terms(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    temperature: float,
    alpha_temperature: float | None = None,
) -> tuple[Tensor, Tensor]:
    """SCD and MCD, each times the square of its temperature; logits [B, K], label [B].

    ``alpha_temperature`` is that of SCD; None: the same.
    """
    hot = temperature if alpha_temperature is None else alpha_temperature
    confidence = confidence_loss(student_logits, teacher_logits, label, hot)
    correlation = masked_correlation_loss(student_logits, teacher_logits, label, temperature)
    return hot**2 * confidence, temperature**2 * correlation


def rld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    alpha: float,
    beta: float,
    temperature: float,
) -> Tensor:
    """alpha SCD + beta MCD at one temperature; logits [B, K], label [B]."""
    confidence, correlation = rld_terms(student_logits, teacher_logits, label, temperature)
    return alpha * confidence + beta * correlation


class RLDConfig(MethodConfig):
    """CIFAR-100 values of zju-SWJ/RLD; beta differs by pair, ImageNet 0.5 and 2.0."""

    temperature: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)  # ImageNet 1
    alpha_temperature: float | None = Field(None, gt=0)
    """Of the confidence part; None: ``temperature``, as the README's ``--same-t`` sets it. The
    code's own default is 1."""
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    alpha: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)
    beta: float = tunable(8.0, low=0.25, high=16.0, log=True, ge=0)
    warmup_epochs: int = Field(20, ge=0)  # ImageNet 1


class RLD(Distiller):
    """Refined logit distillation."""

    paper = Paper(
        authors=(
            "Wujie Sun and Defang Chen and Siwei Lyu and Genlang Chen and Chun Chen and Can Wang"
        ),
        title="Knowledge Distillation with Refined Logits",
        venue="ICCV",
        year=2025,
        arxiv="2408.07703",
    )
    reads = Reads.LOGITS
    Config = RLDConfig
    config: RLDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``scd`` and ``mcd``; the last two grow over the warm-up."""
        settings = self.config
        confidence, correlation = rld_terms(
            student.logits,
            teacher.logits,
            batch.label,
            settings.temperature,
            settings.alpha_temperature,
        )
        warmup = progress.warmup(settings.warmup_epochs)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "scd": warmup * settings.alpha * confidence,
            "mcd": warmup * settings.beta * correlation,
        }
