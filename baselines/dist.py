"""DIST: predictions correlate with the teacher's, over the classes and over the batch.

Shapes: B batch, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from baselines._losses import in_float32
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

EPSILON = (
    1e-8  # beside the product of norms, image_classification_sota lib/models/losses/dist_kd.py
)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of the rows of two [M, N], [M]; 0 where a row is constant."""
    first, second = (rows - rows.mean(1, keepdim=True) for rows in (first, second))
    norms = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    correlations: Tensor = (first * second).sum(1) / (norms + EPSILON)
    return correlations


def dist_terms(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Inter- and intra-class term of logits [B, K], both times T^2 (Huang et al. 2022, eq. 8-9).

    Inter: 1 - correlation over the classes, mean over images. Intra: 1 - correlation over the
    images of the batch, mean over classes; with a single image it is the constant T^2.
    """
    student = functional.softmax(in_float32(student_logits) / temperature, 1)
    teacher = functional.softmax(in_float32(teacher_logits) / temperature, 1)
    inter = 1 - correlation(student, teacher).mean()
    intra = 1 - correlation(student.T, teacher.T).mean()
    return temperature**2 * inter, temperature**2 * intra


class DISTConfig(MethodConfig):
    """CIFAR-100 values of the authors' code, image_classification_sota."""

    temperature: float = tunable(4.0, low=1.0, high=8.0, log=True, gt=0)  # ImageNet 1
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    dist_weight: float = tunable(2.0, low=0.1, high=10.0, log=True, ge=0)
    """Multiplies both terms."""
    beta: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)  # inter-class, eq. 10
    gamma: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)  # intra-class


class DIST(Distiller):
    """Distillation from a stronger teacher on logits."""

    paper = Paper(
        authors="Tao Huang and Shan You and Fei Wang and Chen Qian and Chang Xu",
        title="Knowledge Distillation from A Stronger Teacher",
        venue="NeurIPS",
        year=2022,
        arxiv="2205.10536",
    )
    reads = Reads.LOGITS
    Config = DISTConfig
    config: DISTConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``inter`` and ``intra``."""
        settings = self.config
        inter, intra = dist_terms(
            self.gather(student.logits), self.gather(teacher.logits), settings.temperature
        )
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "inter": settings.dist_weight * settings.beta * inter,
            "intra": settings.dist_weight * settings.gamma * intra,
        }
