"""Batch normalisation of a frozen network folded into the convolutions before it.

In evaluation mode a batch normalisation is one multiply-add per channel. Where its input is the
output of a convolution that nothing else reads, the convolution's weights can do it: the outputs
are the same up to floating-point order, and one pass over memory is saved. Which layer reads
which output is observed in one forward pass, so no network needs to be known by name.
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
    """A copy in evaluation mode in which every batch normalisation that can be is folded.

    All taps are the same up to floating-point order, those before an activation included.
    """
    quick = copy.deepcopy(network).eval()
    names = {module: name for name, module in quick.model.named_modules()}
    for conv, norm in _pairs(quick):
        fused = fuse_conv_bn_eval(conv, norm).requires_grad_(False)
        quick.model.set_submodule(names[conv], fused)
        quick.model.set_submodule(names[norm], _activation_of(norm))
    return quick


def _activation_of(norm: nn.BatchNorm2d) -> nn.Module:
    """What replaces a folded norm: timm's layer also has dropout and an activation."""
    if isinstance(norm, BatchNormAct2d):
        return nn.Sequential(norm.drop, norm.act)
    return nn.Identity()


def _pairs(network: TappedModel) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch normalisations that alone read their outputs."""
    kinds = (nn.Conv2d, nn.BatchNorm2d, BatchNormAct2d)
    modules = [module for module in network.model.modules() if type(module) in kinds]
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
    times_called = Counter(module for module, _, _ in calls)
    conv_of = {id(out): conv for conv, _, out in calls if isinstance(conv, nn.Conv2d)}
    tapped = {tap.data_ptr() for tap in outputs.taps.values()}
    return [
        (conv_of[id(norm_input)], norm)
        for norm, norm_input, _ in calls
        if isinstance(norm, nn.BatchNorm2d)
        and norm.running_mean is not None
        and id(norm_input) in conv_of
        and times_called[norm] == times_called[conv_of[id(norm_input)]] == 1
        and uses.count[id(norm_input)] == 1
        and norm_input.data_ptr() not in tapped
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
        leaves = tree_leaves((args, kwargs or {}))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        self._kept += tensors
        self.count.update({id(tensor) for tensor in tensors})
        return function(*args, **(kwargs or {}))
