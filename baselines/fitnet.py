"""FitNet: the student's middle layer, through a small regressor, imitates the teacher's.

Trained jointly with the classifier from the start, as RepDistiller and mdistiller do, not in the
two stages of the paper.

Shapes: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from baselines._adapters import ConvReg, pool_to_smaller, shape_of, stage_from_the_end
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


def hint_loss(regressed: Tensor, hint: Tensor) -> Tensor:
    """Mean squared difference of two maps [B, C, H, W] over all entries (Romero et al., eq. 3).

    The paper sums and halves; the mean is RepDistiller's and mdistiller's. Of maps of unequal
    size the larger is average-pooled.
    """
    regressed, hint = pool_to_smaller(in_float32(regressed), in_float32(hint))
    return functional.mse_loss(regressed, hint)


class FitNetConfig(MethodConfig):
    """CIFAR-100 values of RepDistiller (``-r 1 -a 0 -b 100``) and mdistiller."""

    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    hint_weight: float = tunable(100.0, low=1.0, high=1000.0, log=True, ge=0)
    hint: str = tunable("stage2", choices=["stage1", "stage2", "stage3"])
    """The teacher's stage; stage2 is the middle of a CIFAR network (RepDistiller, mdistiller)."""
    guided: str | None = None
    """The student's stage; None takes the one equally far from the deep end."""


class FitNet(Distiller):
    """Hint training at one stage."""

    paper = Paper(
        authors=(
            "Adriana Romero and Nicolas Ballas and Samira Ebrahimi Kahou and Antoine "
            "Chassang and Carlo Gatta and Yoshua Bengio"
        ),
        title="FitNets: Hints for Thin Deep Nets",
        venue="ICLR",
        year=2015,
        arxiv="1412.6550",
    )
    reads = Reads.FEATURES
    Config = FitNetConfig
    config: FitNetConfig

    def __init__(self, config: FitNetConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher = setup.require_teacher()
        hint_shape = shape_of(teacher, config.hint, "teacher")
        self._guided = config.guided or stage_from_the_end(setup.student, config.hint, teacher)
        guided_shape = shape_of(setup.student, self._guided, "student")
        self.regressor = ConvReg(guided_shape, hint_shape)

    def student_taps(self) -> tuple[str, ...]:
        """The guided stage."""
        return (self._guided,)

    def teacher_taps(self) -> tuple[str, ...]:
        """The hint stage."""
        return (self.config.hint,)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``hint``."""
        settings = self.config
        regressed = self.regressor(student[self._guided])
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "hint": settings.hint_weight * hint_loss(regressed, teacher[settings.hint]),
        }
