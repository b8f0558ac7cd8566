"""PKT: each image's probabilities of picking the others as neighbours are those of the teacher.

Shapes: B batch, D width of a feature (not the same for both networks).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from baselines._losses import TINY, in_float32
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

EPSILON = 1e-7  # beside norms and probabilities, RepDistiller distiller_zoo/PKT.py


def neighbour_probabilities(feature: Tensor) -> Tensor:
    """[B, D] -> [B, B] of rows that sum to 1: cosines, moved to 0..1, over their sum.

    A zero feature is equally near to all.
    """
    feature = in_float32(feature)
    norm = torch.linalg.vector_norm(feature, dim=1, keepdim=True)
    direction = feature / torch.where(norm > TINY, norm + EPSILON, torch.ones_like(norm))
    closeness = ((direction @ direction.T + 1) / 2).clamp_min(0)  # rounding may pass -1
    return closeness / closeness.sum(1, keepdim=True)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """KL of the neighbour probabilities of [B, D] (Passalis and Tefas 2018, eq. 5 and 8).

    RepDistiller's form: the mean over all B x B entries, not the sum over each row.
    """
    p, q = neighbour_probabilities(teacher), neighbour_probabilities(student)
    return (p * ((p + EPSILON) / (q + EPSILON)).log()).mean()


class PKTConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 30000``)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    pkt_weight: float = tunable(30000.0, low=300.0, high=300000.0, log=True, ge=0)


class PKT(Distiller):
    """Probabilistic knowledge transfer on the pooled features."""

    paper = Paper(
        authors="Nikolaos Passalis and Anastasios Tefas",
        title="Learning Deep Representations with Probabilistic Knowledge Transfer",
        venue="ECCV",
        year=2018,
        arxiv="1803.10837",
    )
    reads = Reads.FEATURES
    taps = ("pooled",)
    Config = PKTConfig
    config: PKTConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``pkt``."""
        settings = self.config
        distance = pkt_loss(self.gather(student["pooled"]), self.gather(teacher["pooled"]))
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "pkt": settings.pkt_weight * distance,
        }
