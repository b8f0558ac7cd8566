"""DOT: the gradient of the labels' loss and that of the distillation each have a momentum.

Both parts' gradients are taken at the same weights. With momentum mu and delta D a step is

    v_task <- (mu - D) v_task + g_task + weight_decay w
    v_dist <- (mu + D) v_dist + g_dist
    w      <- w - lr (v_task + v_dist)

so that distillation, with the longer memory, leads (Zhao et al. 2023, Sec. 3.3). What only one
part's gradient reaches, a regressor or the layers behind a hint, has momentum mu and weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from suite.interface.paper import Paper

PAPER = Paper(
    authors="Borui Zhao and Quan Cui and Renjie Song and Jiajun Liang",
    title="DOT: A Distillation-Oriented Trainer",
    venue="ICCV",
    year=2023,
    arxiv="2307.08436",
)


class DOT(Optimizer):
    """SGD with two momenta, as mdistiller's ``engine/dot.py``.

    Every group of parameters has a twin whose tensors carry the gradients of the distillation
    and the state of their momentum: whoever scales, clips or saves gradients sees both parts.
    ``groups`` are as for any optimizer; each has a ``weight_decay``.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float, delta: float
    ) -> None:
        pairs = [(group, self._twin(group)) for group in groups]
        both = [group for pair in pairs for group in pair]
        super().__init__(both, {"lr": lr, "momentum": momentum, "delta": delta})

    @staticmethod
    def _twin(group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "params": [it.detach() for it in group["params"]]}

    def receivers(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Where the gradients of the distillation with respect to ``parameters`` belong."""
        task, twins = (
            [it for group in groups for it in group["params"]]
            for groups in (self.param_groups[::2], self.param_groups[1::2])
        )
        twin_of = dict(zip(task, twins, strict=True))
        return [twin_of[parameter] for parameter in parameters]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; ``closure`` is not used."""
        for group, twins in zip(self.param_groups[::2], self.param_groups[1::2], strict=True):
            momentum, delta, decay = group["momentum"], group["delta"], group["weight_decay"]
            pairs = list(zip(group["params"], twins["params"], strict=True))
            both = [(one, twin) for one, twin in pairs if None not in (one.grad, twin.grad)]
            task = [(one, one) for one, twin in pairs if twin.grad is None]
            distillation = [(one, twin) for one, twin in pairs if one.grad is None]
            self._move([(one, one) for one, _ in both], group["lr"], momentum - delta, decay)
            self._move(both, group["lr"], momentum + delta, 0.0)
            self._move([*task, *distillation], group["lr"], momentum, decay)

    def _move(
        self, pairs: Sequence[tuple[Tensor, Tensor]], lr: float, momentum: float, decay: float
    ) -> None:
        """Move the first of each pair by the gradient that the second carries, if it has one."""
        pairs = [(parameter, carrier) for parameter, carrier in pairs if carrier.grad is not None]
        if not pairs:
            return
        parameters = [parameter for parameter, _ in pairs]
        gradients = [carrier.grad for _, carrier in pairs if carrier.grad is not None]
        buffers = [self._buffer(carrier) for _, carrier in pairs]
        if decay:
            gradients = [*torch._foreach_add(gradients, parameters, alpha=decay)]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(parameters, buffers, alpha=-lr)

    def _buffer(self, carrier: Tensor) -> Tensor:
        """Zero before the first step, which is then the reference's first step, too."""
        state = self.state[carrier]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(carrier)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
