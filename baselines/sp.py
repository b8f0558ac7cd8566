"""SP: images that are alike to the teacher become alike to the student.

Shapes: B batch; features are [B, ...], of any shape and not the same for both networks.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._losses import in_float32, unit_rows
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


def similarities(feature: Tensor) -> Tensor:
    """[B, ...] -> [B, B]: inner products of the images, each row divided by its length."""
    rows = in_float32(feature).flatten(1)
    return unit_rows(rows @ rows.T)


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """||G_t - G_s||_F^2 / B^2 of the similarities (Tung and Mori 2019, eq. 4)."""
    return functional.mse_loss(similarities(student), similarities(teacher))


class SPConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 3000``)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    sp_weight: float = tunable(3000.0, low=30.0, high=30000.0, log=True, ge=0)


class SP(Distiller):
    """Similarity-preserving distillation on the last stage."""

    paper = Paper(
        authors="Frederick Tung and Greg Mori",
        title="Similarity-Preserving Knowledge Distillation",
        venue="ICCV",
        year=2019,
        arxiv="1907.09682",
    )
    reads = Reads.FEATURES
    Config = SPConfig
    config: SPConfig

    def __init__(self, config: SPConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._student_tap = setup.student.stages[-1]  # feat[-2] in RepDistiller
        self._teacher_tap = setup.require_teacher().stages[-1]

    def student_taps(self) -> tuple[str, ...]:
        """The last stage."""
        return (self._student_tap,)

    def teacher_taps(self) -> tuple[str, ...]:
        """The last stage."""
        return (self._teacher_tap,)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``sp``."""
        settings = self.config
        distance = sp_loss(
            self.gather(student[self._student_tap]), self.gather(teacher[self._teacher_tap])
        )
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "sp": settings.sp_weight * distance,
        }
