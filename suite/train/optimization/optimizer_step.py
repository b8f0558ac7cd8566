"""The optimizer steps of one run: learning rate, loss scale, clipping, optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.config import RunConfig
from suite.device.precision import LossScaler
from suite.train.optimization.optimizer import make_optimizer, make_schedule, match_layouts


class Updates:
    """Changes the weights of ``module`` by their gradients.

    ``recorded``: steps are recorded and replayed. The update is then part of the recording where
    the optimizer is one fused kernel and no step can be left out; it reads its learning rate from
    a tensor on the device, so that another rate needs no other recording.
    """

    def __init__(
        self,
        config: RunConfig,
        module: nn.Module,
        device: torch.device,
        *,
        fused: bool,
        recorded: bool,
    ) -> None:
        optimizer, train = config.optimizer.at(config.train.batch_size), config.train
        self.optimizer = make_optimizer(optimizer, module, fused=fused)
        self.scaler = LossScaler(train.precision, device.type, self.optimizer)
        self._schedule = make_schedule(config.schedule, self.optimizer, train.epochs)
        self._max_norm = optimizer.clip_grad_norm
        groups = self.optimizer.param_groups
        one_kernel = all(group.get("fused") for group in groups)
        self.in_recording = recorded and one_kernel and not self.scaler.enabled
        """Whether :meth:`step` belongs into what is recorded."""
        self._rates = [torch.zeros((), device=device) for _ in groups] if self.in_recording else []
        self._on_cpu = device.type == "cpu"
        self.rate = 0.0
        """The learning rate of the epoch in progress, of the first group."""
        self._keep_steps_on_device()

    def begin(self, epoch: int) -> None:
        """Set the learning rates of ``epoch``, counted from 1."""
        self._schedule.step(epoch - 1)
        groups = self.optimizer.param_groups
        self.rate = groups[0]["lr"]
        if not self._on_cpu:  # with a recording or without: a kernel reads it in float32
            for group in groups:
                group["lr"] = torch.tensor(group["lr"], dtype=torch.float32).item()
        for group, rate in zip(groups, self._rates, strict=False):
            rate.fill_(group["lr"])
            group["lr"] = rate

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to compute gradients of."""
        return self.scaler.scale(loss)

    def step(self) -> None:
        """Change the weights by the gradients that are there."""
        self.scaler.step(self._max_norm)

    def state_dict(self) -> dict[str, Any]:
        """Of a checkpoint."""
        return {"optimizer": self.optimizer.state_dict(), "precision": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, which may have been written on another kind of device."""
        self.optimizer.load_state_dict(state["optimizer"])
        match_layouts(self.optimizer)
        self.scaler.load_state_dict(state["precision"])
        self._keep_steps_on_device()

    def _keep_steps_on_device(self) -> None:
        """Let Adam and its kind count their steps where a recording can see it."""
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = self.in_recording
