"""Convolutions that a library computes wrongly on some CPUs, computed another way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 8
"""float32 numbers in a register of AVX2."""


def avoid(module: nn.Module, device: torch.device) -> None:
    """Have ``module``, in place, use none of them on ``device``; weights and results stay.

    oneDNN 3.13 (torch 2.15), AVX2, channels_last: the weight gradient of a 1x1 convolution with a
    stride and 2 to 7 input channels (kernel jit_1x1:avx2) writes beyond its memory; the process
    dies then or later. With 1, or with 8 and more channels, with larger kernels, on AVX-512 and
    with contiguous images it does not. Such a convolution reads every stride-th pixel: taking
    these first, and convolving without a stride, is the same sum.
    """
    if device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and _is_faulty(layer):
            layer.register_forward_pre_hook(_Strided(*layer.stride))
            layer.stride = (1, 1)


def _is_faulty(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.padding in ((0, 0), "valid")
        and 1 < layer.in_channels < BLOCK
    )


class _Strided:
    """Takes every ``rows``-th row and ``columns``-th column of a map [B, C, H, W]."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        images: Tensor = inputs[0]
        return images[..., :: self._rows, :: self._columns]
