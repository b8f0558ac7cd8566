"""WKD-L: optimal transport takes the student's predictions of the other classes to the teacher's.

Moving probability between classes that the teacher finds alike costs little, so that the loss
knows which classes are neighbours. The costs are measured once, on the teacher. Together with
``wkd_f`` it is the paper's WKD of both (``wkd_l+wkd_f``, whose weights are others there).

Shapes: B batch, K classes, N training images.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from baselines._decoupled import soft_target_loss
from baselines._losses import in_float32, is_label
from baselines._schedules import cosine_decay
from baselines._transport import (
    class_distance,
    classifier_distance,
    transport_cost,
    transport_loss,
)
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    UnsupportedPair,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

Costs = Literal["map", "logits", "classifier"]
FEWEST_IMAGES = 2  # of a class: one image has no correlation


def wkd_logit_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    label: Tensor,
    cost: Tensor,
    temperature: float,
    regularization: float = 0.05,
    iterations: int = 10,
) -> Tensor:
    """Transport cost between the softmaxes of z / T over the other classes.

    logits [B, K], label [B], cost [K, K]; mean over the batch.
    """
    target = is_label(label, student_logits.shape[1])
    student, teacher = (
        functional.softmax((in_float32(logits) / temperature).masked_fill(target, -math.inf), 1)
        for logits in (student_logits, teacher_logits)
    )
    cost = cost.to(student.dtype)
    return transport_loss(student, teacher, ~target, cost, regularization, iterations)


class WKDLConfig(MethodConfig):
    """CIFAR-100 values of JiamingLv/WKD for res32x4 to res8x4; others beside them."""

    temperature: float = tunable(8.0, low=1.0, high=16.0, log=True, gt=0)  # WRN 6, ImageNet 2
    wkd_weight: float = tunable(600.0, low=10.0, high=1000.0, log=True, ge=0)
    """WRN-40-2 to ShuffleV1 200; ImageNet 30 (R34 to R18), 25 (R50 to MobileNetV1)."""
    target_weight: float = tunable(1.0, low=0.1, high=4.0, log=True, ge=0)
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    costs: Costs = "map"
    """Compared of two classes: ``map``, the pixels of the teacher's last map (CIFAR); ``logits``
    (ImageNet); ``classifier``, the rows of its weight, without a pass over the training set."""
    sharpen: float = Field(1.0, ge=0)  # k; ImageNet R50 to MobileNetV1 2
    regularization: float = Field(0.05, gt=0)
    iterations: int = Field(10, ge=1, le=1000)
    decay_after: int = Field(150, ge=0)
    """Last epoch of the full weight, which then decays to 0 (ImageNet 0); the target part's not."""


class WKDL(Distiller):
    """Wasserstein distillation on logits."""

    paper = Paper(
        authors="Jiaming Lv and Haoyuan Yang and Peihua Li",
        title="Wasserstein Distance Rivals Kullback-Leibler Divergence for Knowledge Distillation",
        venue="NeurIPS",
        year=2024,
        arxiv="2412.08139",
    )
    Config = WKDLConfig
    config: WKDLConfig
    cost: Tensor  # [K, K]

    def __init__(self, config: WKDLConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        if config.costs == "classifier":
            distance = classifier_distance(teacher.head.weight.detach())
        else:
            distance = class_distance(_by_class(setup, config.costs))
        self.register_buffer("cost", transport_cost(distance, config.sharpen))

    @classmethod
    def reads_with(cls, config: WKDLConfig) -> Reads:
        """Logits, and for the costs perhaps maps or the classifier."""
        return Reads.LOGITS | (Reads(0) if config.costs == "logits" else Reads.FEATURES)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce``, ``target`` and ``wkd``."""
        settings = self.config
        distance = wkd_logit_loss(
            student.logits,
            teacher.logits,
            batch.label,
            self.cost,
            settings.temperature,
            settings.regularization,
            settings.iterations,
        )
        target = soft_target_loss(student.logits, teacher.logits, batch.label)
        weight = settings.wkd_weight * cosine_decay(progress, settings.decay_after)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "target": settings.target_weight * target,
            "wkd": weight * distance,
        }


def _by_class(setup: Setup, tap: Costs) -> Tensor:
    """The teacher's features of the training set as [K, n, D], n that of the smallest class.

    In the order of the images' index. Raises :class:`UnsupportedPair` when a class has too few.
    """
    images = int(torch.bincount(setup.train_labels, minlength=setup.num_classes).min())
    if images < FEWEST_IMAGES:  # of the whole set: a trial's pass may see a part of it
        raise UnsupportedPair(
            f"wkd_l: costs={tap!r} compares at least {FEWEST_IMAGES} training images of every "
            f"class, and one class has {images}; costs='classifier' needs none"
        )
    asked = ("map",) if tap == "map" else ()
    rows, labels, index = [], [], []
    for batch, outputs in setup.teacher_pass(asked):
        rows.append(outputs["map"].flatten(2).mT if asked else outputs.logits[:, None])
        labels.append(batch.label)
        index.append(batch.index)
    order = torch.cat(index).argsort()
    label, features = torch.cat(labels)[order], torch.cat(rows)  # [N], [N, pixels, D]
    rows.clear()  # on CIFAR 3 GB
    fewest = int(torch.bincount(label, minlength=setup.num_classes).min())
    members = label.argsort(stable=True)
    first = torch.bincount(label, minlength=setup.num_classes).cumsum(0).roll(1)
    first[0] = 0
    chosen = members[first[:, None] + torch.arange(fewest, device=first.device)]  # [K, n]
    return features[order[chosen]].flatten(1, 2)
