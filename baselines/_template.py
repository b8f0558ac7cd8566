"""TEMPLATE: the student's pooled feature imitates the direction of the teacher's.

Copy this file to ``baselines/<name>.py``: the file's name is the method's name, and there is
nothing else to edit. Begin with the idea in a sentence, then the shapes.

Shapes: B batch, D_s and D_t widths of the pooled features.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

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


def direction_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine, mean over the batch; features [B, D], result in 0..2.

    A pure function of tensors: it can be read, tested and used alone.
    """
    return (1 - functional.cosine_similarity(student, teacher, dim=1)).mean()


class TemplateConfig(MethodConfig):
    """Options with their defaults; say beside each where the number comes from."""

    weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)  # a choice of this template
    warmup_epochs: int = 0


class Template(Distiller):
    """What the method does, in a sentence."""

    paper = Paper(
        authors="First Author and Second Author and Third Author",
        title="Title of the Paper",
        venue="CVPR",
        year=2026,
        arxiv="2601.00000",
    )
    reads = Reads.FEATURES
    taps = ("pooled",)  # what `losses` reads of both networks
    Config = TemplateConfig
    config: TemplateConfig

    def __init__(self, config: TemplateConfig, setup: Setup) -> None:
        """Make layers here; raise UnsupportedPair, in one line, for a pair that lacks something."""
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        (student_width,), (teacher_width,) = (
            setup.student.shapes["pooled"],
            teacher.shapes["pooled"],
        )
        self.embed = nn.Linear(student_width, teacher_width)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``direction``: weighted scalars under the paper's names."""
        weight = self.config.weight * progress.warmup(self.config.warmup_epochs)
        distance = direction_loss(self.embed(student["pooled"]), teacher["pooled"])
        return {
            "ce": functional.cross_entropy(student.logits, batch.truth),
            "direction": weight * distance,
        }
