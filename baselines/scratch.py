"""Scratch: cross-entropy alone, the floor every method is measured against; trains teachers too."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from suite.interface.distiller import Batch, Distiller, MethodConfig, Progress
from suite.interface.taps import Outputs


class ScratchConfig(MethodConfig):
    """Label smoothing is 0 in every CIFAR-100 recipe of the field."""

    label_smoothing: float = 0.0


class Scratch(Distiller):
    """Training without distillation."""

    paper = None
    uses_teacher = False
    Config = ScratchConfig
    config: ScratchConfig

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` alone; ``teacher`` is empty."""
        smoothing = self.config.label_smoothing
        return {
            "ce": functional.cross_entropy(student.logits, batch.truth, label_smoothing=smoothing)
        }
