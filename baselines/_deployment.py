"""Deployed students whose classifier is not the student's own.

Shapes: B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from suite.interface.taps import TappedModel


class Reheaded(nn.Module):
    """The student up to ``tap``, then ``head``, which turns that tap into logits [B, K].

    The student's own classifier stays in the weights, unused; as nothing depends on it, it is
    left out of :meth:`named_parameters` and so of every parameter count.
    """

    def __init__(self, student: TappedModel, tap: str, head: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.tap = tap
        self.head = head

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """As in torch, without the student's unused classifier."""
        unused = {id(parameter) for parameter in self.student.classifier.parameters()}
        for name, parameter in super().named_parameters(prefix, recurse, remove_duplicate):
            if id(parameter) not in unused:
                yield name, parameter

    def forward(self, image: Tensor) -> Tensor:
        """image [B, channels, H, W] -> logits [B, K]."""
        return torch.as_tensor(self.head(self.student(image, (self.tap,))[self.tap]))
