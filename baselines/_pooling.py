"""Adaptive average pooling whose gradient is the same at every call on a GPU, too.

torch's has no deterministic gradient there, but for 1x1. The windows are the same.
Shapes: B batch, C channels, H and W height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def average_pool(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, H, W] -> [B, C, *size]: means over windows, as ``adaptive_avg_pool2d`` takes them.

    With the same bits where H and W are multiples of ``size``, else up to rounding.
    """
    (height, width), (rows, columns) = maps.shape[2:], size
    if (height, width) == size:
        return maps
    if size == (1, 1):
        return functional.adaptive_avg_pool2d(maps, 1)
    if height % rows == 0 and width % columns == 0:
        return functional.avg_pool2d(maps, (height // rows, width // columns))
    pooled: Tensor = _windows(height, rows, maps) @ maps @ _windows(width, columns, maps).T
    return pooled


def _windows(inputs: int, outputs: int, like: Tensor) -> Tensor:
    """[outputs, inputs]: row i averages the columns from floor(i I / O) to ceil((i + 1) I / O)."""
    row = torch.arange(outputs, device=like.device)[:, None]
    column = torch.arange(inputs, device=like.device)
    start, end = row * inputs // outputs, ((row + 1) * inputs + outputs - 1) // outputs
    inside = (column >= start) & (column < end)
    return inside.to(like.dtype) / (end - start)
