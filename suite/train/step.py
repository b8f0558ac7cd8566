"""What one optimizer step computes, for whatever wraps it: ranks, half precision, CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from suite.interface.distiller import Batch, Distiller, Progress
from suite.interface.taps import Outputs, TappedModel
from suite.train.watched import Question, WatchedProgress


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
        image: Tensor,
        label: Tensor,
        index: Tensor,
        progress: tuple[int, ...],
        teacher_logits: Tensor | None,
        teacher_taps: Mapping[str, Tensor],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms and the student's number of hits on the batch.

        Autocast, where it is on, covers the student alone: methods get float32 and compute in
        it whatever the precision. The teacher's outputs, float32 already, hold at least the taps
        that the method reads; no logits: no teacher.
        """
        place = WatchedProgress(Progress(*progress), self.asked)
        student = self.student(image, self.distiller.student_taps()).float()
        if teacher_logits is None:
            teacher_logits = student.logits.new_empty(0)
        wanted = {tap: teacher_taps[tap] for tap in self.distiller.teacher_taps()}
        with torch.autocast(image.device.type, enabled=False):
            terms = self.distiller.losses(
                Batch(image, label, index),
                student,
                Outputs(teacher_logits, wanted),
                place,
            )
            with torch.no_grad():
                hits = (self.distiller.predict(student).argmax(1) == label).sum()
        return terms, hits
