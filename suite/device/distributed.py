"""Several devices train one student as one device would: the global batch is what counts.

``train.batch_size`` is that of all devices together and the learning rate belongs to it (see
``optimizer.lr_batch_size``), so nothing is rescaled when devices are added. Batch normalisation,
relations within a batch, memory banks and random draws all refer to the global batch; what is left
is the order of floating-point sums. The exceptions are ``train.batch_norm: local`` and dropout,
which every rank draws for itself. Buffers are not sent around, since all ranks compute the same
ones: CRD's banks alone would be 51 MB before every step on CIFAR-100.

Shapes: B images of this rank, w ranks, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.nn import functional as collectives
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Scope = Literal["global", "local"]
STEPS_BETWEEN_VOTES = 8
"""Ranks agree on stopping and saving after so many steps: a vote costs a synchronisation."""


def strategy() -> DDPStrategy:
    """Data parallelism that sends gradients alone: all ranks compute the same buffers."""
    return DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)


def gather(fabric: Fabric, tensor: Tensor) -> Tensor:
    """[B, ...] of this rank -> [w B, ...] in the order of the global batch.

    Gradients flow back to the rank that the rows came from. With the mean of gradients over ranks
    that data parallelism takes, a loss of gathered rows trains as it would on one device.
    """
    if fabric.world_size == 1:
        return tensor
    gathered = cast(Tensor, fabric.all_gather(tensor, sync_grads=tensor.requires_grad))
    return gathered.transpose(0, 1).flatten(0, 1)  # row i of rank r is row i w + r


def batch_norm(fabric: Fabric, scope: Scope) -> AbstractContextManager[Any]:
    """Within it, batch normalisation in training takes its statistics over the ``scope``.

    ``global``: the images of all ranks; ``local``: those of each rank, as without this context.
    """
    whole = fabric.world_size > 1 and scope == "global"
    return WholeBatchNorm(fabric.world_size) if whole else nullcontext()


class WholeBatchNorm(TorchFunctionMode):
    """Meets every call of batch_norm, whatever module makes it, on every kind of device.

    The ``ranks`` have equally many images in every step (``rank_rows`` in ``suite/data/base.py``),
    so their number is known without asking: two sums over the ranks a layer, and no wait.
    """

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm:
            return _batch_norm(self._ranks, *args, **kwargs)
        return func(*args, **kwargs)


def _batch_norm(
    ranks: int,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``functional.batch_norm`` with mean and variance of [B, C, ...] over the images of all ranks.

    In float32 as torch's, two passes; the running variance is the unbiased one.
    """
    if not training:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, eps=eps, momentum=momentum
        )
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [1, -1, *[1] * (input.ndim - 2)]
    wide = input if input.dtype == torch.float64 else input.float()
    count = ranks * (input.numel() // input.shape[1])
    mean = _sum_over_ranks(wide.sum(axes)) / count
    centred = wide - mean.view(shape)
    variance = _sum_over_ranks(centred.square().sum(axes)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            unbiased = variance * (count / max(count - 1, 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    out: Tensor = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    if bias is not None:
        out = out + bias.view(shape)
    return out.to(input.dtype)


def _sum_over_ranks(tensor: Tensor) -> Tensor:
    """With gradient: that of every rank's loss."""
    total: Tensor = collectives.all_reduce(tensor)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def share_statistics(fabric: Fabric, module: nn.Module, scope: Scope) -> None:
    """Give all ranks the mean of their running statistics where each has its own.

    Running averages are linear: taking the mean once or often makes no difference.
    """
    if fabric.world_size == 1 or scope == "global":
        return
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(cast(Tensor, fabric.all_reduce(buffer, reduce_op="mean")))


def stack(fabric: Fabric, state: Tensor) -> Tensor:
    """A CPU tensor of every rank: [w, *shape], on the CPU; all ranks must call it."""
    if fabric.world_size == 1:
        return state[None]
    return cast(Tensor, fabric.all_gather(state.to(fabric.device))).cpu()


def agree(fabric: Fabric, wish: bool) -> bool:
    """True on all ranks if any of them wishes it; all ranks must call it."""
    if fabric.world_size == 1:
        return wish
    vote = torch.tensor(float(wish), device=fabric.device)
    return bool(cast(Tensor, fabric.all_reduce(vote, reduce_op="max")) > 0)
