"""A method on a pair of networks, for checks and tests: built and asked as the harness does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from suite.interface.distiller import Batch, Distiller, Progress, Setup
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs

MakeSetup = Callable[[], Setup]
PROGRESS = Progress(epoch=1, epochs=4, step=0, steps_per_epoch=4)


def expect(holds: bool, fact: str) -> None:
    """Raise AssertionError unless the fact holds."""
    if not holds:
        raise AssertionError(fact)


@dataclass
class Bench:
    """A method on a pair, ready for batches."""

    setup: Setup
    distiller: Distiller

    @classmethod
    def of(cls, method: type[Distiller], make_setup: MakeSetup) -> Bench:
        """Built as the harness builds it. Raises UnsupportedPair where the pair does not fit."""
        setup = make_setup()
        if not method.uses_teacher:
            setup = replace(setup, teacher=None)
        with seeded_globals(0, "contract"):
            return cls(setup, method(method.Config(), setup))

    def losses(
        self, batch: Batch, scale: float = 1.0, half: torch.dtype | None = None
    ) -> dict[str, Tensor]:
        """Terms for a batch, logits multiplied by ``scale``; the student in training mode.

        ``half``: what the networks compute in, as the engine lets them in half precision.
        """
        self.setup.student.train()
        self.distiller.train()
        batch = self.with_views(batch)
        with nullcontext() if half is None else torch.autocast(batch.image.device.type, half):
            student, teacher = self._outputs(batch.image, scale)
            others = {name: self._outputs(image, scale) for name, image in batch.views.items()}
        student = replace(student, views={name: it for name, (it, _) in others.items()})
        teacher = replace(teacher, views={name: it for name, (_, it) in others.items()})
        return self.distiller.losses(batch, student, teacher, PROGRESS)

    def with_views(self, batch: Batch) -> Batch:
        """The batch with what stands for the further views that it lacks: images moved down."""
        lacking = [name for name in self.distiller.views() if name not in batch.views]
        made = {name: batch.image.roll(row, 2) for row, name in enumerate(lacking, start=1)}
        return replace(batch, views={**batch.views, **made})

    def _outputs(self, image: Tensor, scale: float) -> tuple[Outputs, Outputs]:
        """Of student and teacher, logits multiplied by ``scale``."""
        student = self.setup.student(image, self.distiller.student_taps()).float()
        teacher = Outputs(student.logits.new_empty(0))
        if self.setup.teacher is not None:
            with torch.no_grad():
                outputs = self.setup.teacher(image, self.distiller.teacher_taps())
            teacher = Outputs(outputs.logits * scale, outputs.taps).float()
        return Outputs(student.logits * scale, student.taps), teacher

    def parameters(self) -> list[Tensor]:
        """Everything the optimizer trains."""
        return [*self.setup.student.parameters(), *self.distiller.parameters()]


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum that the engine optimises."""
    return torch.stack(list(terms.values())).sum()
