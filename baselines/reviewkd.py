"""ReviewKD: the student's stages, fused from deep to shallow, imitate the teacher's stages.

Shapes: B batch, C channels, H and W height and width; s student, t teacher. A shape is (C, H, W).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm, Shape, as_map, paired_stages
from baselines._losses import in_float32
from baselines._pooling import average_pool
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

WIDEST_FUSION = 512  # channels; mdistiller distillers/ReviewKD.py
POOLINGS = (4, 2, 1)  # sides of the pooled maps in HCL; ibid.


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of two maps [B, C, H, W] (Chen et al. 2021, Sec. 3.3).

    Mean squared difference at full size and after average pooling to 4x4, 2x2 and 1x1, where that
    is smaller, with weights 1, 1/2, 1/4, .. that are normalised to sum 1.
    """
    student, teacher = in_float32(student), in_float32(teacher)
    loss, weight, total = functional.mse_loss(student, teacher), 1.0, 1.0
    for side in POOLINGS:
        if side >= student.shape[2]:
            continue
        weight /= 2
        total += weight
        small, wanted = (average_pool(maps, (side, side)) for maps in (student, teacher))
        loss = loss + weight * functional.mse_loss(small, wanted)
    return loss / total


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of a stage with what came from deeper (Sec. 3.3, Fig. 3).

    ``target`` is the shape of the teacher's map to imitate. The deepest level has nothing to
    fuse with (``fuses`` False).
    """

    def __init__(self, channels: int, inner: int, target: Shape, *, fuses: bool) -> None:
        super().__init__()
        made, height, width = target
        self.size = (height, width)
        self.enter = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), BatchNorm(inner))
        self.attention = nn.Conv2d(2 * inner, 2, 1) if fuses else None
        self.leave = nn.Sequential(
            nn.Conv2d(inner, made, 3, padding=1, bias=False), BatchNorm(made)
        )
        for layer in (self.enter[0], self.leave[0]):
            nn.init.kaiming_uniform_(torch.as_tensor(layer.weight), a=1)

    def forward(self, feature: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """[B, C_s, H, W] and [B, inner, ..] -> imitation [B, *target], fused [B, inner, H_t, W_t].

        Sizes are matched by nearest neighbours.
        """
        fused: Tensor = self.enter(feature)
        if self.attention is not None and deeper is not None:
            deeper = _resized(deeper, fused.shape[2:])
            both = torch.cat([fused, deeper], dim=1)
            share = self.attention(both).sigmoid()  # [B, 2, H, W]
            fused = fused * share[:, :1] + deeper * share[:, 1:]
        fused = _resized(fused, self.size)
        return self.leave(fused), fused


def _resized(feature: Tensor, size: tuple[int, ...]) -> Tensor:
    if feature.shape[2:] == size:
        return feature
    return functional.interpolate(feature, size, mode="nearest")


class ReviewKDConfig(MethodConfig):
    """CIFAR-100 values of mdistiller; the weight differs by pair (the recipes have it)."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    reviewkd_weight: float = tunable(1.0, low=0.1, high=20.0, log=True, ge=0)
    warmup_epochs: int = Field(20, ge=0)  # ImageNet: 1


class ReviewKD(Distiller):
    """Knowledge review over all stages but the stem, and the pooled feature."""

    paper = Paper(
        authors="Pengguang Chen and Shu Liu and Hengshuang Zhao and Jiaya Jia",
        title="Distilling Knowledge via Knowledge Review",
        venue="CVPR",
        year=2021,
        arxiv="2104.09044",
    )
    reads = Reads.FEATURES
    Config = ReviewKDConfig
    config: ReviewKDConfig

    def __init__(self, config: ReviewKDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        student, teacher = setup.student, setup.require_teacher()
        pairs = paired_stages(setup)
        self._student_taps = (*(own for own, _ in pairs), "pooled")
        self._teacher_taps = (*(f"{theirs}_preact" for _, theirs in pairs), "pooled")
        inner = min(WIDEST_FUSION, student.shapes["pooled"][0])
        self.fusions = nn.ModuleList(
            Fusion(student.shapes[own][0], inner, _map_shape(teacher.shapes[theirs]), fuses=fuses)
            for own, theirs, fuses in zip(
                self._student_taps,
                self._teacher_taps,
                [True] * len(pairs) + [False],
                strict=True,
            )
        )

    def student_taps(self) -> tuple[str, ...]:
        """The stages and the pooled feature."""
        return self._student_taps

    def teacher_taps(self) -> tuple[str, ...]:
        """The stages before their last activation, and the pooled feature."""
        return self._teacher_taps

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``reviewkd``, the latter summed over levels, in a linear warm-up."""
        settings = self.config
        distance, deeper = student.logits.new_zeros(()), None
        levels = zip(self.fusions, self._student_taps, self._teacher_taps, strict=True)
        for fusion, own, theirs in reversed(list(levels)):
            feature, target = student[own], teacher[theirs]
            imitation, deeper = fusion(as_map(feature), deeper)
            distance = distance + hcl_loss(imitation, as_map(target))
        weight = settings.reviewkd_weight * progress.warmup(settings.warmup_epochs)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "reviewkd": weight * distance,
        }


def _map_shape(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (*shape, 1, 1)
