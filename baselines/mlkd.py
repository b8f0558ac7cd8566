"""MLKD: predictions agree at five temperatures, image by image, class by class and over the batch.

Of two views of each image, a weak one (the run's own crop and flip) and a strong one (RandAugment
added). The published code does something else than it sets out to, see :func:`shares` and
:func:`code_terms`; its figures come from that, so it is the default.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines._losses import in_float32
from baselines.kd import kd_loss
from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress, Reads, tunable
from suite.interface.paper import Paper
from suite.interface.taps import Outputs

STRONG = "randaugment"
FURTHER_TEMPERATURES = (3.0, 5.0, 2.0, 6.0)  # MLLD distillers/KD_ours.py, beside the first
Variant = Literal["code", "paper"]
Terms = dict[str, Tensor]


class Views(NamedTuple):
    """Logits [B, K] of one network."""

    weak: Tensor
    strong: Tensor


def as_they_are(logits: Tensor) -> Tensor:
    """What KD reads of logits; LSKD puts standardization here."""
    return logits


def class_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """|P_t' P_t - P_s' P_s|^2 / K of P = softmax(z / T): which classes go together."""
    return _gram_distance(student, teacher, temperature, lambda rows: rows.T @ rows)


def batch_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """|P_t P_t' - P_s P_s'|^2 / B: which images go together."""
    return _gram_distance(student, teacher, temperature, lambda rows: rows @ rows.T)


def _gram_distance(
    student: Tensor, teacher: Tensor, temperature: float, gram: Callable[[Tensor], Tensor]
) -> Tensor:
    ours, theirs = (
        gram(functional.softmax(in_float32(logits) / temperature, 1))
        for logits in (student, teacher)
    )
    return (theirs - ours).square().sum() / len(ours)


def shares(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of images and of classes that the teacher is at most as sure of as of the median.

    Teacher's logits [B, K]. The code makes masks of them, which then multiply averages that
    are taken already: all that is left of them are these two factors of about a half.
    """
    probabilities = functional.softmax(in_float32(teacher), 1)
    sureness = (probabilities.max(1).values, probabilities.sum(0))  # of images, of classes
    images, classes = ((sure <= median(sure)).to(sure.dtype).mean() for sure in sureness)
    return images, classes


def median(values: Tensor) -> Tensor:
    """Of [N]: halfway between the two middle ones; ``quantile`` would wait for the device."""
    ordered = values.sort().values
    return (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def code_terms(
    student: Views,
    teacher: Views,
    temperatures: Sequence[float],
    gather: Callable[[Tensor], Tensor] = as_they_are,
    read: Callable[[Tensor], Tensor] = as_they_are,
) -> Terms:
    """What the published code adds up: ``kd_weak``, ``kd_strong``, ``cc`` and ``bc``.

    Its KD of the strong view reads the weak one at the last two temperatures, and its class and
    batch terms of the strong view are computed and dropped.
    """

    def kd(ours: Tensor, theirs: Tensor, temperatures: Sequence[float]) -> Tensor:
        distances = [kd_loss(read(ours), read(theirs), temperature) for temperature in temperatures]
        return torch.stack(distances).sum()

    weak, soft = gather(student.weak), gather(teacher.weak)
    images, classes = shares(soft)
    cc = [class_loss(weak, soft, temperature) for temperature in temperatures]
    bc = [batch_loss(weak, soft, temperature) for temperature in temperatures]
    return {
        "kd_weak": images * kd(student.weak, teacher.weak, temperatures),
        "kd_strong": kd(student.strong, teacher.strong, temperatures[:3])
        + kd(student.weak, teacher.weak, temperatures[3:]),
        "cc": classes * torch.stack(cc).sum(),
        "bc": images * torch.stack(bc).sum(),
    }


def paper_terms(
    student: Views,
    teacher: Views,
    temperatures: Sequence[float],
    gather: Callable[[Tensor], Tensor] = as_they_are,
    read: Callable[[Tensor], Tensor] = as_they_are,
) -> Terms:
    """Every part of both views at every temperature, once: the terms of :func:`code_terms`."""
    terms: Terms = {}
    for name, ours, theirs in zip(Views._fields, student, teacher, strict=True):
        everyone, soft = gather(ours), gather(theirs)
        for temperature in temperatures:
            parts = {
                f"kd_{name}": kd_loss(read(ours), read(theirs), temperature),
                "cc": class_loss(everyone, soft, temperature),
                "bc": batch_loss(everyone, soft, temperature),
            }
            terms |= {k: terms[k] + part if k in terms else part for k, part in parts.items()}
    return terms


TERMS = {"code": code_terms, "paper": paper_terms}


def both_views(outputs: Outputs) -> Views:
    """The logits of the run's own view and of the strong one."""
    return Views(outputs.logits, outputs.views[STRONG].logits)


def label_loss(student: Views, truth: Tensor) -> Tensor:
    """The cross-entropies of both views."""
    weak, strong = (functional.cross_entropy(logits, truth) for logits in student)
    return weak + strong


class MLKDConfig(MethodConfig):
    """CIFAR-100 values of MLLD, whose learning rate is 0.025; ImageNet beside them."""

    variant: Variant = "code"
    """What the published code computes, or all parts of both views."""
    temperature: float = tunable(4.0, low=1.0, high=8.0, log=True, gt=0)  # ImageNet 1
    """The first of five; the others are 3, 5, 2 and 6."""
    ce_weight: float = tunable(0.1, low=0.0, high=1.0, ge=0)  # ImageNet 0.5
    kd_weight: float = tunable(0.9, low=0.1, high=10.0, log=True, ge=0)  # ImageNet 0.5
    """Multiplies all terms but the cross-entropy."""


class MLKD(Distiller):
    """Multi-level logit distillation on two views."""

    paper = Paper(
        authors="Ying Jin and Jiaqi Wang and Dahua Lin",
        title="Multi-Level Logit Distillation",
        venue="CVPR",
        year=2023,
    )
    reads = Reads.LOGITS
    Config = MLKDConfig
    config: MLKDConfig

    def views(self) -> tuple[str, ...]:
        """The strong one."""
        return (STRONG,)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` of both views, ``kd_weak``, ``kd_strong``, ``cc`` (classes) and ``bc`` (batch)."""
        settings, ours = self.config, both_views(student)
        temperatures = (settings.temperature, *FURTHER_TEMPERATURES)
        terms = TERMS[settings.variant](ours, both_views(teacher), temperatures, self.gather)
        weighted = {name: settings.kd_weight * term for name, term in terms.items()}
        return {"ce": settings.ce_weight * label_loss(ours, batch.truth), **weighted}
