"""The processes (ranks) that train one run together, so that their number changes no result.

The global batch is ``train.batch_size``, whatever the number of ranks, and the learning rate
belongs to it. DDP averages the gradients; what it leaves apart is done here: statistics of batch
normalisation, decisions, random states. Buffers are not broadcast by DDP: every rank computes them
from the same numbers, memory banks from gathered ones.

Shapes: B images of a rank, C channels, w ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode

from suite.config import Runtime

PATIENCE = timedelta(days=30)  # that ranks wait for each other where the first waits for a teacher


def make_fabric(runtime: Runtime, precision: Any = "32-true") -> Fabric:
    """A launched Fabric: alone in this process, or one of ``devices`` x ``nodes`` ranks."""
    alone = runtime.devices * runtime.nodes == 1
    ddp = DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
    fabric = Fabric(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        precision=precision,
        strategy="auto" if alone else ddp,
        plugins=[LightningEnvironment()] if alone else None,
    )
    fabric.launch()
    return fabric


class Council:
    """What the ranks agree on, over a CPU connection of its own that makes no GPU wait."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._group: Any = None
        if world_size > 1:
            self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)

    def most(self, wish: int) -> int:
        """The largest wish of all ranks."""
        if self.world_size == 1:
            return wish
        wishes = torch.tensor([wish])
        distributed.all_reduce(wishes, distributed.ReduceOp.MAX, self._group)
        return int(wishes)

    def stack(self, state: Tensor) -> Tensor:
        """Every rank's CPU tensor: [w, *shape]."""
        states = [torch.empty_like(state) for _ in range(self.world_size)]
        if self.world_size == 1:
            return state[None]
        distributed.all_gather(states, state, self._group)
        return torch.stack(states)

    def first_says(self, text: str | None) -> str | None:
        """What the first rank says."""
        said = [text]
        if self.world_size > 1:
            distributed.broadcast_object_list(said, src=0, group=self._group)
        return said[0]


def batch_norm_over(
    fabric: Fabric, scope: Literal["global", "local"]
) -> Callable[[], AbstractContextManager[Any]]:
    """Makes contexts in which batch normalisation sees the images of all ranks (``global``)."""
    wanted = fabric.world_size > 1 and scope == "global"
    return GlobalBatchNorm if wanted else nullcontext


class GlobalBatchNorm(TorchFunctionMode):
    """Training-mode batch normalisation uses the statistics of the global batch.

    Acts on every layer that calls torch's ``batch_norm``, timm's fused ones included.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The signature of torch's ``functional.batch_norm``; input [B, C, ...]."""
    if not training:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, False, momentum, eps
        )
    if input.is_cuda:
        world = distributed.group.WORLD
        given = (input.contiguous(), weight, bias, running_mean, running_var, eps, momentum)
        normalised: Tensor = SyncBatchNorm.apply(*given, world, distributed.get_world_size())
        return normalised
    dims = [0, *range(2, input.ndim)]
    shape = [1, -1, *[1] * (input.ndim - 2)]
    count = input.numel() // input.shape[1] * distributed.get_world_size()  # ranks have equal B
    mean = _over_ranks(input.sum(dims)) / count
    centred = input - mean.view(shape)
    variance = _over_ranks(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
        unbiased = variance.detach() * (count / (count - 1))
        running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    normalised = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        normalised = normalised * weight.view(shape)
    return normalised if bias is None else normalised + bias.view(shape)


def _over_ranks(value: Tensor) -> Tensor:
    """The sum over all ranks, with a gradient."""
    return cast(Tensor, all_reduce(value))  # type: ignore[no-untyped-call]


@torch.no_grad()
def average_statistics(fabric: Fabric, module: nn.Module) -> None:
    """Give all ranks the mean of their running statistics, for evaluation and checkpoints.

    Running averages are linear, so averaging often or once makes no difference.
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase):
            for statistic in (layer.running_mean, layer.running_var):
                if statistic is not None:
                    statistic.copy_(cast(Tensor, fabric.all_reduce(statistic, reduce_op="mean")))
