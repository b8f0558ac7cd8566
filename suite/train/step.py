"""What one optimizer step computes, for whatever wraps it: ranks, half precision, CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from suite.interface.distiller import Batch, Distiller, Progress
from suite.interface.taps import Outputs, TappedModel
from suite.train.progress_watch import Question, WatchedProgress


class Step(nn.Module):
    """Student and method in one forward.

    One module, so that distributed training and mixed precision wrap it as a whole.
    """

    def __init__(self, student: TappedModel, distiller: Distiller) -> None:
        super().__init__()
        self.student = student
        self.distiller = distiller
        self.asked: set[Question] = set()
        """What the method has asked its progress so far."""

    def forward(
        self,
        truth: Tensor,
        index: Tensor,
        seen: Sequence[Sequence[Tensor]],
        progress: tuple[int, ...],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms and the student's number of hits on the batch.

        ``truth`` is :attr:`Batch.truth`. ``seen`` holds for the first view and for each further one
        that the method reads: image, the teacher's logits, its taps; the image alone where there is
        no teacher.
        Autocast, where it is on, covers the student alone: methods get float32, as the teacher's
        outputs are already, and compute in it whatever the precision.
        """
        method, place = self.distiller, WatchedProgress(Progress(*progress), self.asked)
        image, *others = (view[0] for view in seen)
        student = self._merged(
            [self.student(view[0], method.student_taps()).float() for view in seen]
        )
        teacher = self._merged([self._said(view) for view in seen])
        target = truth if truth.is_floating_point() else None
        label = truth if target is None else target.argmax(1)
        with torch.autocast(image.device.type, enabled=False):
            views = dict(zip(method.views(), others, strict=True))
            batch = Batch(image, label, index, views, target)
            terms = method.losses(batch, student, teacher, place)
            with torch.no_grad():
                hits = (method.predict(student).argmax(1) == label).sum()
        return terms, hits

    def _said(self, view: Sequence[Tensor]) -> Outputs:
        image, *said = view
        if not said:
            return Outputs(image.new_empty(0))
        return Outputs(said[0], dict(zip(self.distiller.teacher_taps(), said[1:], strict=True)))

    def _merged(self, outputs: Sequence[Outputs]) -> Outputs:
        """Those of the first view with those of the others."""
        first, *others = outputs
        return replace(first, views=dict(zip(self.distiller.views(), others, strict=True)))
