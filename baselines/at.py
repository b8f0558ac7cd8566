"""AT: the student looks where the teacher looks, at every stage.

Shapes: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._adapters import paired_stages, pool_to_smaller
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


def attention(feature_map: Tensor, power: float) -> Tensor:
    """[B, C, H, W] -> [B, H*W] of unit length: where the channels' mean |a|^power is large."""
    return unit_rows(in_float32(feature_map).abs().pow(power).mean(1).flatten(1))


def at_loss(student: Tensor, teacher: Tensor, power: float) -> Tensor:
    """Mean squared difference of the attention of two maps [B, C, H, W] (Zagoruyko and Komodakis).

    RepDistiller's form: mean over images and positions, where the paper's eq. 2 has a norm for each
    image. Of maps of unequal size the larger is average-pooled first.
    """
    student, teacher = pool_to_smaller(student, teacher)
    return functional.mse_loss(attention(student, power), attention(teacher, power))


class ATConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 1000``)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    at_weight: float = tunable(1000.0, low=10.0, high=10000.0, log=True, ge=0)
    power: float = tunable(2.0, low=1.0, high=4.0, ge=1)  # Zagoruyko and Komodakis, Sec. 3.1


class AT(Distiller):
    """Attention transfer over all stages but the stem, paired from the deep end."""

    paper = Paper(
        authors="Sergey Zagoruyko and Nikos Komodakis",
        title=(
            "Paying More Attention to Attention: Improving the Performance of "
            "Convolutional Neural Networks via Attention Transfer"
        ),
        venue="ICLR",
        year=2017,
        arxiv="1612.03928",
    )
    reads = Reads.FEATURES
    Config = ATConfig
    config: ATConfig

    def __init__(self, config: ATConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._pairs = paired_stages(setup)

    def student_taps(self) -> tuple[str, ...]:
        """The stages."""
        return tuple(student for student, _ in self._pairs)

    def teacher_taps(self) -> tuple[str, ...]:
        """The stages."""
        return tuple(teacher for _, teacher in self._pairs)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``at``, the latter summed over stages."""
        settings = self.config
        distance = sum(
            (at_loss(student[s], teacher[t], settings.power) for s, t in self._pairs),
            start=student.logits.new_zeros(()),
        )
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "at": settings.at_weight * distance,
        }
