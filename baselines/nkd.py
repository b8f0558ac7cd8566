"""NKD: the soft loss of the target class, and the cross-entropy among the normalised others.

Both parts are cross-entropies with the teacher, not divergences: their least value is not 0.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._decoupled import decouple, soft_target_loss
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs


def non_target_loss(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy of the softmaxes of z / T over the K - 1 other classes, mean over the batch.

    logits [B, K], label [B]. 0 for two classes, of which one is left.
    """
    student = decouple(student_logits, label, temperature)
    teacher = decouple(teacher_logits, label, temperature)
    # At the target class the student's log-probability is 0 by convention, so it adds nothing.
    return -(teacher.others.exp() * student.others).sum(1).mean()


def nkd_terms(
    student_logits: Tensor, teacher_logits: Tensor, label: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Target part, and non-target part times T^2; their sum with weights 1 and gamma is NKD.

    logits [B, K]; label [B], or scores of the classes [B, K] (mixup), of which the largest counts.
    """
    label = label.argmax(1) if label.ndim == 2 else label
    target = soft_target_loss(student_logits, teacher_logits, label)
    others = non_target_loss(student_logits, teacher_logits, label, temperature)
    return target, temperature**2 * others


class NKDConfig(MethodConfig):
    """CIFAR-100 values of cls_KD (ResNet-34 to ResNet-18); ImageNet beside them."""

    temperature: float = tunable(3.0, low=1.0, high=8.0, log=True, gt=0)  # ImageNet 1
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    target_weight: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)
    gamma: float = tunable(3.5, low=0.25, high=16.0, log=True, ge=0)  # ImageNet 1.5


class NKD(Distiller):
    """Normalised knowledge distillation on logits."""

    paper = Paper(
        authors="Zhendong Yang and Ailing Zeng and Zhe Li and Tianke Zhang and Chun Yuan and Yu Li",
        title=(
            "From Knowledge Distillation to Self-Knowledge Distillation: A Unified "
            "Approach with Normalized Loss and Customized Soft Labels"
        ),
        venue="ICCV",
        year=2023,
        arxiv="2303.13005",
    )
    reads = Reads.LOGITS
    Config = NKDConfig
    config: NKDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``target`` and ``non_target``."""
        settings = self.config
        target, others = nkd_terms(
            student.logits, teacher.logits, batch.label, settings.temperature
        )
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "target": settings.target_weight * target,
            "non_target": settings.gamma * others,
        }
