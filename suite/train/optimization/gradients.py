"""From the loss terms of a step, or of its parts, to the gradients that the optimizer takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from suite.train.optimization.accumulation import WeightedSum
from suite.train.optimization.dot import DOT
from suite.train.step import Step


class Gradients:
    """Of the sum of the terms, or of the labels' terms and those of distillation apart.

    The sum is what every optimizer takes but :class:`suite.train.optimization.dot.DOT`. Apart, or
    ``accumulated`` over the parts of a step, the ranks take their mean here, once a step: data
    parallelism knows one backward pass for each forward pass, and would send every part's.
    """

    def __init__(
        self,
        fabric: Fabric,
        step: Step,
        module: nn.Module,
        optimizer: Optimizer,
        *,
        accumulated: bool = False,
    ) -> None:
        self._fabric = fabric
        self._step = step
        self._module = module  # the step as data parallelism wraps it
        self._parameters = [it for it in step.parameters() if it.requires_grad]
        self._receivers: list[Tensor] = [*self._parameters]
        self._apart = isinstance(optimizer, DOT)
        self._by_hand = self._apart or accumulated  # what data parallelism does for the others
        self._sum = WeightedSum() if accumulated else None
        if isinstance(optimizer, DOT):
            self._receivers += optimizer.receivers(self._parameters)

    def clear(self) -> None:
        """Forget what a step has left, also a recording that failed."""
        for receiver in self._receivers:
            receiver.grad = None

    def forward(self, *inputs: Any) -> Any:
        """The step's forward pass.

        By hand, not through data parallelism, which gives what one part does not reach a gradient
        of 0 and thereby another momentum.
        """
        if not self._by_hand:
            return self._module(*inputs)
        with self._fabric.autocast():
            return self._step(*inputs)

    def compute(
        self, terms: Mapping[str, Tensor], scale: Callable[[Tensor], Tensor]
    ) -> list[Tensor | None]:
        """Gradients of the scaled terms with respect to all parameters, a part after the other."""
        task = self._step.distiller.task_terms
        others = [name for name in terms if name not in task]
        parts = [task, others] if self._apart else [[*terms]]
        found: list[Tensor | None] = []
        for done, part in enumerate(parts, start=1):
            self.clear()
            loss = torch.stack([terms[name] for name in part]).sum()
            self._fabric.backward(scale(loss), retain_graph=done < len(parts))
            found += [parameter.grad for parameter in self._parameters]
        return found

    def attach(self, gradients: Sequence[Tensor | None], share: float, *, last: bool) -> None:
        """Give the optimizer what :meth:`compute` made; a replayed step fills but attaches not.

        Of a part of a step, which has ``share`` of its images: with the ``last`` part the mean
        over all of them.
        """
        if self._sum is not None:
            self._sum.add(gradients, share)
            if not last:
                return
            gradients = self._sum.take()
        if self._by_hand:
            gradients = [self._mean(gradient) for gradient in gradients]
        for receiver, gradient in zip(self._receivers, gradients, strict=True):
            receiver.grad = gradient

    def _mean(self, gradient: Tensor | None) -> Tensor | None:
        if gradient is None or self._fabric.world_size == 1:
            return gradient
        return cast(Tensor, self._fabric.all_reduce(gradient, reduce_op="mean"))
