"""KD: the student imitates the teacher's softened predictions.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._losses import in_float32
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float | Tensor) -> Tensor:
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), mean over the batch (Hinton et al., Sec. 2).

    Logits are [B, K]; the result is a scalar. The factor T^2 keeps the size of the gradient
    independent of the temperature.
    """
    student_logits, teacher_logits = in_float32(student_logits), in_float32(teacher_logits)
    student = functional.log_softmax(student_logits / temperature, dim=1)
    teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2


class KDConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 0.1 -a 0.9``) and mdistiller."""

    temperature: float = tunable(4.0, low=1.0, high=16.0, log=True, gt=0)
    ce_weight: float = tunable(0.1, low=0.0, high=1.0, ge=0)
    kd_weight: float = tunable(0.9, low=0.1, high=10.0, log=True, ge=0)


class KD(Distiller):
    """Knowledge distillation on logits."""

    paper = Paper(
        authors="Geoffrey Hinton and Oriol Vinyals and Jeff Dean",
        title="Distilling the Knowledge in a Neural Network",
        year=2015,
        arxiv="1503.02531",
    )
    reads = Reads.LOGITS
    Config = KDConfig
    config: KDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``kd``."""
        settings = self.config
        distance = kd_loss(student.logits, teacher.logits, settings.temperature)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "kd": settings.kd_weight * distance,
        }
