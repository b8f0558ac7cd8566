"""RKD: distances and angles among the images of a batch are those of the teacher.

Shapes: B batch, D width of a feature (not the same for both networks).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from baselines._losses import in_float32, unit_rows
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

LEAST_SQUARE = 1e-12  # of a distance; RepDistiller distiller_zoo/RKD.py


def _differences(feature: Tensor) -> Tensor:
    """[B, D] -> [B, B, D]: from the first image to the second."""
    feature = in_float32(feature)
    return feature[None, :] - feature[:, None]


def _scaled_distances(feature: Tensor) -> Tensor:
    """[B, D] -> [B, B] Euclidean distances over their mean; 0 on the diagonal; B >= 2."""
    squares = _differences(feature).square().sum(2).clamp_min(LEAST_SQUARE)
    itself = torch.eye(len(feature), dtype=torch.bool, device=feature.device)
    distances = squares.sqrt().masked_fill(itself, 0.0)
    return distances / (distances.sum() / (len(feature) * (len(feature) - 1)))


def _angles(feature: Tensor) -> Tensor:
    """[B, D] -> [B, B, B]: cosine at the first image between the directions to two others."""
    directions = unit_rows(_differences(feature))
    return directions @ directions.transpose(1, 2)


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the scaled distances, features [B, D] (Park et al. 2019, eq. 5-7).

    A single image has no distance to any other: 0.
    """
    if len(student) < 2:
        return 0.0 * in_float32(student).sum()
    return functional.smooth_l1_loss(_scaled_distances(student), _scaled_distances(teacher))


def rkd_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the angles of all triples, features [B, D] (Park et al. 2019, eq. 8-10)."""
    return functional.smooth_l1_loss(_angles(student), _angles(teacher))


class RKDConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 1``, 25 and 50)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    distance_weight: float = tunable(25.0, low=1.0, high=200.0, log=True, ge=0)
    angle_weight: float = tunable(50.0, low=1.0, high=400.0, log=True, ge=0)


class RKD(Distiller):
    """Relational knowledge distillation on the pooled features."""

    paper = Paper(
        authors="Wonpyo Park and Dongju Kim and Yan Lu and Minsu Cho",
        title="Relational Knowledge Distillation",
        venue="CVPR",
        year=2019,
        arxiv="1904.05068",
    )
    reads = Reads.FEATURES
    taps = ("pooled",)
    Config = RKDConfig
    config: RKDConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``distance`` and ``angle``."""
        settings = self.config
        features = (self.gather(student["pooled"]), self.gather(teacher["pooled"]))
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "distance": settings.distance_weight * rkd_distance_loss(*features),
            "angle": settings.angle_weight * rkd_angle_loss(*features),
        }
