"""VID: the student's maps predict the teacher's, with a learnt variance for each channel.

Shapes: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import paired_stages, pool_to_smaller
from baselines._losses import in_float32
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

LEAST_VARIANCE = 1e-5  # RepDistiller distiller_zoo/VID.py


def vid_loss(mean: Tensor, teacher: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log-likelihood of a teacher's map (Ahn et al. 2019, eq. 5-6), without log(2 pi) / 2.

    mean and teacher are [B, C, H, W], log_scale is [C] with variance softplus(log_scale) + 1e-5.
    The mean over all entries; it may be negative.
    """
    mean, teacher = in_float32(mean), in_float32(teacher)
    variance = functional.softplus(in_float32(log_scale)) + LEAST_VARIANCE
    variance = variance[:, None, None]  # [C, 1, 1]
    return 0.5 * ((mean - teacher).square() / variance + variance.log()).mean()


class VariationalRegressor(nn.Module):
    """Predicts a teacher's map of ``teacher`` channels from a student's of ``student``.

    Three 1x1 convolutions without bias with ReLU between (RepDistiller distiller_zoo/VID.py).
    """

    def __init__(self, student: int, teacher: int, variance: float) -> None:
        super().__init__()
        self.regressor = nn.Sequential(
            nn.Conv2d(student, teacher, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, kernel_size=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher, teacher, kernel_size=1, bias=False),
        )
        start = math.log(math.expm1(variance - LEAST_VARIANCE))
        self.log_scale = nn.Parameter(torch.full((teacher,), start))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Loss of maps [B, C_s, H_s, W_s] and [B, C_t, H_t, W_t]; the larger is average-pooled."""
        student, teacher = pool_to_smaller(student, teacher)
        return vid_loss(self.regressor(student), teacher, self.log_scale)


class VIDConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 1``)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    vid_weight: float = tunable(1.0, low=0.01, high=100.0, log=True, ge=0)
    initial_variance: float = tunable(5.0, low=0.1, high=20.0, log=True, gt=LEAST_VARIANCE)


class VID(Distiller):
    """Variational information distillation over all stages but the stem."""

    paper = Paper(
        authors=(
            "Sungsoo Ahn and Shell Xu Hu and Andreas Damianou and Neil D. Lawrence and Zhenwen Dai"
        ),
        title="Variational Information Distillation for Knowledge Transfer",
        venue="CVPR",
        year=2019,
        arxiv="1904.05835",
    )
    reads = Reads.FEATURES
    Config = VIDConfig
    config: VIDConfig

    def __init__(self, config: VIDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self._pairs = paired_stages(setup)
        student, teacher = setup.student.shapes, setup.require_teacher().shapes
        self.regressors = nn.ModuleList(
            VariationalRegressor(student[s][0], teacher[t][0], config.initial_variance)
            for s, t in self._pairs
        )

    def student_taps(self) -> tuple[str, ...]:
        """The stages."""
        return tuple(student for student, _ in self._pairs)

    def teacher_taps(self) -> tuple[str, ...]:
        """The stages."""
        return tuple(teacher for _, teacher in self._pairs)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``vid``, the latter summed over stages."""
        settings = self.config
        distance = student.logits.new_zeros(())
        for regressor, (s, t) in zip(self.regressors, self._pairs, strict=True):
            distance = distance + regressor(student[s], teacher[t])
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "vid": settings.vid_weight * distance,
        }
