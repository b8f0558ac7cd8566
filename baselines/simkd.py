"""SimKD: the student's features, through a projector, replace the teacher's before its classifier.

The deployed student keeps the projector and the teacher's classifier; its own classifier is never
trained and never used.

Shapes: B batch, K classes, C channels, D width of the pooled feature, H and W height and width.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm, as_map, pool_to_smaller
from baselines._deployment import Reheaded
from baselines._losses import in_float32
from baselines._pooling import average_pool
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Setup,
    UnsupportedPair,
)
from suite.interface.paper import Paper
from suite.interface.rng import generator
from suite.interface.taps import Outputs, TappedModel

PROBE_IMAGES = 8


def simkd_loss(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two maps [B, C, H, W] over all entries (Chen et al., eq. 3).

    Of maps of unequal size the larger is average-pooled.
    """
    projected, teacher = pool_to_smaller(in_float32(projected), in_float32(teacher))
    return functional.mse_loss(projected, teacher)


class FeatureProjector(nn.Sequential):
    """1x1, 3x3, 1x1 convolutions with BN and ReLU; inner width C_t / ``factor`` (Chen et al., A.1).

    Without ``rectified`` the last ReLU is left out, for teachers whose features have both signs.
    """

    def __init__(self, student: int, teacher: int, factor: int, *, rectified: bool) -> None:
        inner = max(teacher // factor, 1)
        layers: list[nn.Module] = []
        for taken, made, kernel in ((student, inner, 1), (inner, inner, 3), (inner, teacher, 1)):
            convolution = nn.Conv2d(taken, made, kernel, padding=kernel // 2, bias=False)
            layers += [convolution, BatchNorm(made), nn.ReLU()]
        super().__init__(*layers[: None if rectified else -1])


class ProjectedClassifier(nn.Module):
    """Projector, global average pooling and the teacher's classifier, frozen.

    ``size`` is (H, W) of the teacher's map: larger maps are pooled to it first, as in training.
    """

    def __init__(self, projector: nn.Module, teacher: TappedModel, size: tuple[int, int]) -> None:
        super().__init__()
        self.projector = projector
        self.size = size
        self.classifier = copy.deepcopy(teacher.classifier).requires_grad_(False)

    def project(self, feature: Tensor) -> Tensor:
        """[B, C_s, H, W] or [B, D_s] -> [B, C_t, H, W], not larger than the teacher's map."""
        feature = as_map(feature)
        height, width = (min(pair) for pair in zip(feature.shape[2:], self.size, strict=True))
        projected: Tensor = self.projector(average_pool(feature, (height, width)))
        return projected

    def classify(self, projected: Tensor) -> Tensor:
        """[B, C_t, H, W] -> logits [B, K]."""
        weight = self.classifier.weight.flatten(1)  # it may be a 1x1 convolution
        return functional.linear(projected.mean((2, 3)), weight, self.classifier.bias)

    def forward(self, feature: Tensor) -> Tensor:
        """[B, C_s, H, W] or [B, D_s] -> logits [B, K]."""
        return self.classify(self.project(feature))


class SimKDConfig(MethodConfig):
    """Values of DefangChen/SimKD (``-c 0 -d 0 -b 1``)."""

    factor: int = Field(2, ge=1)
    """The projector is so many times narrower inside than the teacher's feature."""
    feature: Literal["auto", "map", "pooled"] = "auto"
    """``auto``: the last map where the teacher's head is average pooling and a linear layer, as
    in the paper, else the pooled feature."""
    simkd_weight: float = Field(1.0, gt=0)


class SimKD(Distiller):
    """Knowledge distillation with the reused teacher classifier."""

    paper = Paper(
        authors=(
            "Defang Chen and Jian-Ping Mei and Hailin Zhang and Can Wang and Yan Feng and Chun Chen"
        ),
        title="Knowledge Distillation with the Reused Teacher Classifier",
        venue="CVPR",
        year=2022,
        arxiv="2203.14001",
    )
    task_terms = ()
    Config = SimKDConfig
    config: SimKDConfig

    def __init__(self, config: SimKDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        if config.feature == "map" and not teacher.head.pools_linearly:
            raise UnsupportedPair(
                "feature 'map': the teacher's head is not average pooling and a linear layer; "
                "use 'pooled'"
            )
        reads_map = teacher.head.pools_linearly and config.feature != "pooled"
        self._tap = "map" if reads_map else "pooled"
        projector = FeatureProjector(
            setup.student.shapes[self._tap][0],
            teacher.shapes[self._tap][0],
            config.factor,
            rectified=_never_negative(teacher, self._tap),
        )
        height, width = teacher.shapes["map"][1:] if reads_map else (1, 1)
        self.head = ProjectedClassifier(projector, teacher, (height, width))

    def student_taps(self) -> tuple[str, ...]:
        """The last map or the pooled feature."""
        return (self._tap,)

    def teacher_taps(self) -> tuple[str, ...]:
        """The same of the teacher."""
        return (self._tap,)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``simkd`` alone: the labels are not used."""
        target = as_map(teacher[self._tap])
        projected = self.head.project(student[self._tap])
        self._logits = self.head.classify(projected.detach())
        return {"simkd": self.config.simkd_weight * simkd_loss(projected, target)}

    def predict(self, student: Outputs) -> Tensor:
        """Logits of the teacher's classifier; a second pass would move the projector's BN."""
        return self._logits

    def deploy(self, student: TappedModel) -> nn.Module:
        """The student's body, the projector and the teacher's classifier."""
        return Reheaded(student, self._tap, self.head)


@torch.no_grad()
def _never_negative(teacher: TappedModel, tap: str) -> bool:
    """Whether a feature ends in a ReLU, seen on images of noise."""
    noise = torch.randn(PROBE_IMAGES, *teacher.image_shape, generator=generator(0, "simkd probe"))
    feature = teacher(noise.to(teacher.head.weight.device), (tap,))[tap]
    return bool((feature >= 0).all())
