"""Batch normalisation of a frozen network folded into the convolutions before it.

In evaluation mode a batch normalisation is one multiply-add per channel. Where its input is the
output of a convolution that nothing else reads, the convolution's weights can do it: the outputs
are the same up to floating-point order, and one pass over memory is saved. What reads what is
seen in one forward pass, so no network needs to be known by name.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from suite.interface.taps import TappedModel


def folded(network: TappedModel) -> TappedModel:
    """A copy in evaluation mode with every batch normalisation folded that can be.

    All taps are the same up to floating-point order, those before an activation included.
    """
    quick = copy.deepcopy(network).eval()
    names = {module: name for name, module in quick.model.named_modules()}
    for conv, norm in _pairs(quick):
        fused = fuse_conv_bn_eval(conv, norm).requires_grad_(False)
        quick.model.set_submodule(names[conv], fused)
        quick.model.set_submodule(names[norm], _what_is_left(norm))
    return quick


def _what_is_left(norm: nn.BatchNorm2d) -> nn.Module:
    """timm's layer also drops and activates."""
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)
    return nn.Identity()


def _pairs(network: TappedModel) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch normalisations that alone read their outputs."""
    wanted = (nn.Conv2d, nn.BatchNorm2d, BatchNormAct2d)
    modules = [it for it in network.model.modules() if type(it) in wanted]
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        calls.append((module, args[0], out))

    handles = [module.register_forward_hook(note) for module in modules]
    example = next(network.model.parameters())
    image = torch.zeros(1, *network.image_shape, device=example.device, dtype=example.dtype)
    try:
        with torch.no_grad(), _Uses() as uses:
            outputs = network(image, [tap for tap in network.shapes if tap != "logits"])
    finally:
        for handle in handles:
            handle.remove()
    times = Counter(module for module, _, _ in calls)
    given = {id(out): it for it, _, out in calls if isinstance(it, nn.Conv2d)}
    shown = {tap.data_ptr() for tap in outputs.taps.values()}
    return [
        (given[id(taken)], norm)
        for norm, taken, _ in calls
        if isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and id(taken) in given
        and times[norm] == times[given[id(taken)]] == 1
        and uses.count[id(taken)] == 1
        and taken.data_ptr() not in shown
    ]


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often each tensor is read; keeps them all, so that no two share an identity."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()
        self._kept: list[Tensor] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        read = [it for it in tree_leaves((args, kwargs or {})) if isinstance(it, Tensor)]
        self._kept += read
        self.count.update({id(it) for it in read})
        return function(*args, **(kwargs or {}))
