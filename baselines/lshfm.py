"""LSHFM: the student's pooled feature takes the direction of the teacher's, by random hyperplanes.

Hash values of the student's feature learn, by cross-entropy, on which side of each hyperplane the
teacher's feature lies; a squared difference keeps the lengths together. Where the widths differ,
the student gets a linear layer before a new classifier, and keeps both when it is deployed.

Shapes: B batch, K classes, D_s and D_t widths of the pooled features, N training images.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from baselines._deployment import Reheaded
from baselines._hashing import MOST_BITS, Centre, HashLayer, code_loss_per_row, mean_over
from baselines._losses import in_float32, unit_rows
from baselines.kd import kd_loss
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
from suite.interface.taps import Outputs, TappedModel

Variant = Literal["lshl2_s", "lsh_s", "lshl2", "lsh", "l2", "l2_normalized", "l1"]
Distance = Literal["bce", "l2", "l1"]
BITS_PER_DIMENSION = 32  # Wang et al.'s CIFAR scripts: hash_num = 32 * D_t


def distance_per_row(
    student: Tensor,
    teacher: Tensor,
    hashing: HashLayer,
    variant: Variant = "lshl2_s",
    distance: Distance = "bce",
) -> Tensor:
    """Features [B, D_t] x 2 -> [B] (the reference's LSH, LSH_S, L2 and L1).

    ``variant`` names as there: ``lsh`` compares hash values by ``distance`` (Wang et al., eq. 8),
    ``lshl2`` adds the mean squared difference of the features, and ``_s`` says that the caller
    keeps only the images that the teacher classifies correctly.
    """
    student, teacher = in_float32(student), in_float32(teacher)
    if variant == "l1":
        return (student - teacher).abs().mean(1)
    if variant == "l2_normalized":
        return (unit_rows(student) - unit_rows(teacher)).square().mean(1)
    squared = (student - teacher).square().mean(1)
    if variant == "l2":
        return squared
    compared = _compare(hashing(student), hashing(teacher), distance)
    return compared + squared if variant.startswith("lshl2") else compared


def _compare(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """Hash values [B, bits] x 2 -> [B]."""
    if distance == "bce":
        return code_loss_per_row(student, teacher)
    gap = student - teacher
    return (gap.square() if distance == "l2" else gap.abs()).mean(1)


def lshfm_loss(
    student: Tensor,
    teacher: Tensor,
    hashing: HashLayer,
    right: Tensor,
    variant: Variant = "lshl2_s",
    distance: Distance = "bce",
) -> Tensor:
    """Mean of :func:`distance_per_row`; ``right`` [B] bool says where the teacher is right.

    0 for the selecting variants when it is right nowhere; the reference gives nan.
    """
    chosen = right if variant.endswith("_s") else torch.ones_like(right)
    return mean_over(chosen, distance_per_row(student, teacher, hashing, variant, distance))


class LSHFMConfig(MethodConfig):
    """CIFAR-100 values of DoctorKey/LSHFM.singleclassification; ImageNet beside them."""

    variant: Variant = "lshl2_s"
    distance: Distance = "bce"
    hash_bits: int | None = Field(None, ge=1, le=MOST_BITS)
    """None: 32 times the width of the teacher's feature. ImageNet: 2,048."""
    hash_std: float | Literal["classifier"] = "classifier"
    """``classifier``: standard deviation of the teacher's classifier weights. ImageNet: 0.06
    (ResNet-34), 0.03 (ResNet-101)."""
    hash_bias: Centre = "median"  # over the training set; ImageNet: zero
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    beta: float = tunable(6.0, low=0.5, high=50.0, log=True, ge=0)  # ImageNet: 5
    kd_weight: float = Field(0.0, ge=0)
    kd_temperature: float = Field(4.0, gt=0)


class LSHFM(Distiller):
    """Feature mimicking by locality-sensitive hashing."""

    paper = Paper(
        authors="Guo-Hua Wang and Yifan Ge and Jianxin Wu",
        title="Distilling Knowledge by Mimicking Features",
        venue="TPAMI",
        volume="44",
        number="11",
        pages="8183--8195",
        year=2022,
        arxiv="2011.01424",
    )
    taps = ("pooled",)
    Config = LSHFMConfig
    config: LSHFMConfig

    def __init__(self, config: LSHFMConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        (own_width,), (width,) = setup.student.shapes["pooled"], teacher.shapes["pooled"]
        self.widened = None
        if own_width != width:
            self.widened = WidenedHead(own_width, width, setup.num_classes)
        bits = config.hash_bits or BITS_PER_DIMENSION * width
        std = config.hash_std
        if std == "classifier":
            std = float(teacher.head.weight.detach().std())
        self.hash = HashLayer(width, bits, std, setup.draws)
        if config.hash_bias != "zero":
            pooled = [outputs["pooled"] for _, outputs in setup.teacher_pass(("pooled",))]
            self.hash.centre_on(torch.cat(pooled), config.hash_bias)

    @classmethod
    def reads_with(cls, config: LSHFMConfig) -> Reads:
        """Features; logits to select images and for ``kd``, the classifier for ``hash_std``."""
        selects = config.variant.endswith("_s")
        more = selects or config.kd_weight > 0 or config.hash_std == "classifier"
        return Reads.FEATURES | (Reads.LOGITS if more else Reads(0))

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``lsh``; ``kd`` when it has a weight."""
        settings = self.config
        feature, logits = student["pooled"], student.logits
        if self.widened is not None:
            feature, logits = self.widened(feature)
        right = torch.ones_like(batch.label, dtype=torch.bool)
        if settings.variant.endswith("_s"):
            right = teacher.logits.argmax(1) == batch.label
        distance = lshfm_loss(
            self.gather(feature),
            self.gather(teacher["pooled"]),
            self.hash,
            self.gather(right),
            settings.variant,
            settings.distance,
        )
        terms = {
            "ce": settings.ce_weight * functional.cross_entropy(logits, batch.truth),
            "lsh": settings.beta * distance,
        }
        if settings.kd_weight > 0:
            divergence = kd_loss(logits, teacher.logits, settings.kd_temperature)
            terms["kd"] = settings.kd_weight * divergence
        return terms

    def predict(self, student: Outputs) -> Tensor:
        """Logits of the classifier that is deployed."""
        if self.widened is None:
            return student.logits
        _, logits = self.widened(student["pooled"])
        return torch.as_tensor(logits)

    def deploy(self, student: TappedModel) -> nn.Module:
        """The plain student, or with the two linear layers in place of its classifier."""
        if self.widened is None:
            return super().deploy(student)
        layers = nn.Sequential(self.widened.embed, self.widened.classifier)
        return Reheaded(student, "pooled", layers)


class WidenedHead(nn.Module):
    """A linear layer to the teacher's width and a classifier of its outputs ("2FC")."""

    def __init__(self, own_width: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(own_width, width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """pooled [B, D_s] -> feature [B, D_t], logits [B, K]."""
        feature: Tensor = self.embed(pooled)
        return feature, self.classifier(feature)
