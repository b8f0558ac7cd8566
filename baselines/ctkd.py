"""CTKD: KD whose temperature is learnt against the student, step by step harder.

The temperature T = low + range * sigmoid(g) ascends the distillation loss that the student
descends: its gradient is multiplied by a factor that goes from 0 to -1 over the first epochs. g is
a parameter like every other: optimizer, rate and weight decay are the run's, as in the reference,
where weight decay (5e-4) pulls T to the middle of its interval.

Shapes: B batch, K classes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

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
from suite.interface.taps import Outputs

Schedule = Literal["cosine", "linear"]


def gradient_factor(epoch: int, ramp_epochs: int, schedule: Schedule = "cosine") -> float:
    """What the temperature's gradient is multiplied by in ``epoch`` (from 1): 0 down to -1.

    ``cosine`` is -1 from ``ramp_epochs`` on; ``linear``, the code's other
    one, stops a step before, at -(ramp_epochs - 1) / ramp_epochs.
    """
    if schedule == "linear":
        return -min(epoch, ramp_epochs - 1) / ramp_epochs
    return -(1 - math.cos(math.pi * min(epoch, ramp_epochs) / ramp_epochs)) / 2


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """The same value, bit by bit; the gradient that passes is multiplied by ``factor``."""
    constant = value.detach()
    return constant + factor * (value - constant)


def temperature_of(parameter: Tensor, low: float, width: float) -> Tensor:
    """low + width sigmoid(parameter): between ``low`` and ``low + width``."""
    return low + width * parameter.sigmoid()


class CTKDConfig(MethodConfig):
    """CIFAR-100 values of zhengli97/CTKD's scripts; ImageNet beside them."""

    ce_weight: float = tunable(0.1, low=0.0, high=1.0, ge=0)  # ImageNet 1
    kd_weight: float = tunable(0.9, low=0.1, high=10.0, log=True, ge=0)  # ImageNet 1
    temperature_low: float = Field(1.0, gt=0)
    temperature_range: float = tunable(20.0, low=5.0, high=40.0, log=True, gt=0)
    ramp_epochs: int = Field(10, ge=1)  # ImageNet 5
    schedule: Schedule = "cosine"


class CTKD(Distiller):
    """Curriculum temperature (one for all images) for KD."""

    paper = Paper(
        authors=(
            "Zheng Li and Xiang Li and Lingfeng Yang and Borui Zhao and Renjie Song and "
            "Lei Luo and Jun Li and Jian Yang"
        ),
        title="Curriculum Temperature for Knowledge Distillation",
        venue="AAAI",
        year=2023,
        arxiv="2211.16231",
    )
    reads = Reads.LOGITS
    Config = CTKDConfig
    config: CTKDConfig

    def __init__(self, config: CTKDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.temperature = nn.Parameter(torch.ones(1))  # g: T starts at 1 + 20 sigmoid(1) = 15.62

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``kd``; the latter's gradient makes the student better and T worse for it."""
        settings = self.config
        factor = gradient_factor(progress.epoch, settings.ramp_epochs, settings.schedule)
        temperature = temperature_of(
            scale_gradient(self.temperature, factor),
            settings.temperature_low,
            settings.temperature_range,
        )
        self._last = temperature.detach()
        distance = kd_loss(student.logits, teacher.logits, temperature).squeeze()
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "kd": settings.kd_weight * distance,
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """``temperature``, T of the last step."""
        return {"temperature": self._last.squeeze()}
