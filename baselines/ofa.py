"""OFA: the last four stages of the student have exits, and all exits imitate the teacher's logits.

Made for pairs of unlike architectures: stages meet in the space of logits, where features of a CNN
and of a transformer mean the same.

Shapes: B batch, K classes, C channels, H and W height and width.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm
from baselines._losses import in_float32, is_label
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Setup,
    UnsupportedPair,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.taps import Outputs


def ofa_loss(
    student_logits: Tensor, teacher_logits: Tensor, truth: Tensor, gamma: float, temperature: float
) -> Tensor:
    """-sum_k ((p_t,k + 1[k = y])^gamma - 1[k = y]) log p_s,k, mean over the batch (Hao, eq. 8).

    Logits [B, K], p = softmax(z / temperature). gamma 1 is the cross-entropy with the teacher;
    more lets the true class count for more where the teacher is sure of it. (OFAKD's code calls
    it eps.) ``truth`` is the class y [B], or the share of each class [B, K] in place of 1[k = y].
    """
    student_logits, teacher_logits = in_float32(student_logits), in_float32(teacher_logits)
    log_student = functional.log_softmax(student_logits / temperature, dim=1)
    teacher = functional.softmax(teacher_logits / temperature, dim=1)
    true = truth if truth.ndim == 2 else is_label(truth, teacher.shape[1]).to(teacher.dtype)
    weight = (teacher + true) ** gamma - true
    return -(weight * log_student).sum(1).mean()


def separable(channels: int, made: int) -> nn.Sequential:
    """Two depthwise-separable 3x3 convolutions, the first of stride 2, each with BN and ReLU."""
    layers: list[nn.Module] = []
    for stride, width in ((2, channels), (1, made)):
        layers += [
            nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
            BatchNorm(width),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def make_exit(channels: int, width: int, halvings: int, num_classes: int) -> nn.Sequential:
    """Map [B, channels, H, W] -> logits: ``halvings`` separable blocks, pooling, a linear layer.

    Channels double with every block and the last makes ``width``, which without blocks a 1x1
    convolution does (OFAKD, its exits of CNN students; maps of tokens are treated alike here).
    """
    blocks: list[nn.Module] = []
    for number in range(halvings):
        made = width if number == halvings - 1 else 2 * channels
        blocks.append(separable(channels, made))
        channels = made
    widen = blocks or [nn.Conv2d(channels, width, 1)]
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
    return nn.Sequential(*widen, *pool)


class OFAConfig(MethodConfig):
    """Values of Hao-Zhiwei/OFAKD; the paper sets gamma between 1.0 and 1.5 by pair."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    kd_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    ofa_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    kd_gamma: float = tunable(1.0, low=1.0, high=2.0, ge=0)
    ofa_gamma: float = tunable(1.0, low=1.0, high=2.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    exits: int = Field(4, ge=1)
    """The last so many stages of the student have one, or all if it has fewer."""


class OFA(Distiller):
    """One-for-all distillation between heterogeneous architectures."""

    paper = Paper(
        authors=(
            "Zhiwei Hao and Jianyuan Guo and Kai Han and Yehui Tang and Han Hu and Yunhe "
            "Wang and Chang Xu"
        ),
        title=(
            "One-for-All: Bridge the Gap Between Heterogeneous Architectures in "
            "Knowledge Distillation"
        ),
        venue="NeurIPS",
        year=2023,
        arxiv="2310.19444",
    )
    Config = OFAConfig
    config: OFAConfig

    def __init__(self, config: OFAConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher, student = setup.require_teacher(), setup.student
        self._taps = student.stages[-config.exits :]
        if not self._taps:
            raise UnsupportedPair("the student has no stages to put exits on")
        width = max(student.shapes["pooled"][0], teacher.shapes["pooled"][0])
        self.exits = nn.ModuleList(
            make_exit(student.shapes[tap][0], width, len(self._taps) - number, setup.num_classes)
            for number, tap in enumerate(self._taps, start=1)
        )

    def student_taps(self) -> tuple[str, ...]:
        """The stages with exits."""
        return self._taps

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``kd`` of the student's own logits, and ``ofa`` summed over the exits."""
        settings = self.config
        logits_of = {"kd": [student.logits], "ofa": []}
        for tap, exit_ in zip(self._taps, self.exits, strict=True):
            logits_of["ofa"].append(exit_(student[tap]))
        weights = {"kd": settings.kd_weight, "ofa": settings.ofa_weight}
        gammas = {"kd": settings.kd_gamma, "ofa": settings.ofa_gamma}
        terms = {"ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth)}
        for name, all_logits in logits_of.items():
            distances = [
                ofa_loss(logits, teacher.logits, batch.truth, gammas[name], settings.temperature)
                for logits in all_logits
            ]
            terms[name] = weights[name] * torch.stack(distances).sum()
        return terms
