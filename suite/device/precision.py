"""Mixed precision: networks compute in half precision, weights and losses stay in float32.

Fabric's own plugin rounds every float argument of a wrapped module to half precision, the teacher's
outputs among them, and holds one loss scale for all the runs of a process. Here the networks alone
run under autocast, and each run has a loss scale of its own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric.plugins.precision import Precision as Plugin
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from suite.config import Precision

HALF: dict[Precision, torch.dtype] = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
COLLAPSED = torch.finfo(torch.float16).smallest_normal
"""A loss scale below which training is given up. Gradients that overflow float16 (65,504) although
they were multiplied by 2^-14 are above 10^9 or not finite at all; from its start at 2^16 the scale
comes here by 31 overflows in a row."""


class Autocast(Plugin):
    """Fabric's part: autocast in the forward pass; arguments and results stay as they are."""

    def __init__(self, precision: Precision, device_type: str) -> None:
        self._device_type = device_type
        self._dtype = HALF.get(precision)

    def forward_context(self) -> AbstractContextManager[Any]:
        """What networks run under, in training and evaluation."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self._device_type, self._dtype)


def round_weights(network: nn.Module, precision: Precision) -> None:
    """Round the weights of a frozen network once to what autocast rounds them to in every call.

    Of layers that hand their weights to torch's linear and convolution as they are; the same bits.
    """
    dtype = HALF.get(precision)
    if dtype is None:
        return
    for module in network.modules():
        if type(module).forward in (nn.Linear.forward, nn.Conv2d.forward):
            module.to(dtype)


class LossScaler:
    """The optimizer step of one run, which has a loss scale in ``16-mixed``.

    float16 takes gradients below 6e-8 for zero, so the loss is multiplied by a scale and the
    gradients are divided by it. A step whose gradients are not finite changes no weight and halves
    the scale; 2,000 good steps in a row double it. In the other precisions the scale is 1 and no
    step is left out.

    The device is waited for only where the optimizer has no fused kernel, since Python then has to
    know whether to make the step.
    """

    def __init__(self, precision: Precision, device_type: str, optimizer: Optimizer) -> None:
        self._scaler = torch.amp.GradScaler(device_type, enabled=precision == "16-mixed")
        self._optimizer = optimizer
        if self.enabled:
            _start_momentum_at_zero(optimizer)

    @property
    def enabled(self) -> bool:
        """Whether steps may be left out."""
        return self._scaler.is_enabled()

    @property
    def collapsed(self) -> bool:
        """Whether so many steps overflowed that none will succeed; waits for the device."""
        return self._scaler.get_scale() < COLLAPSED

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to compute gradients of."""
        return self._scaler.scale(loss)

    def step(self, max_norm: float | None) -> None:
        """Divide the gradients by the scale, clip them to ``max_norm``, make the optimizer step."""
        if max_norm is not None:
            self._scaler.unscale_(self._optimizer)
            groups = self._optimizer.param_groups
            nn.utils.clip_grad_norm_([it for group in groups for it in group["params"]], max_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Of a checkpoint; empty in the other precisions."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the scaler that gave ``state``."""
        self._scaler.load_state_dict(state)


def _start_momentum_at_zero(optimizer: Optimizer) -> None:
    """Give SGD its momentum buffers before the first step.

    The fused kernel makes them without writing into them, and a first step that overflows, as it
    often does, leaves them so (torch 2.15, ``_fused_sgd``). Zeros give the same first step.
    """
    if not isinstance(optimizer, SGD):
        return
    for group in optimizer.param_groups:
        if group["momentum"] and group["fused"] and not group["dampening"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
