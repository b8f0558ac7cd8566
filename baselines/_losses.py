"""Small pieces of arithmetic that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TINY = 1e-12  # norms below this count as zero; torch's own bound in normalize()


def in_float32(tensor: Tensor) -> Tensor:
    """float16 and bfloat16 as float32, the least precision of every loss; float64 stays."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def is_label(label: Tensor, classes: int) -> Tensor:
    """[B] -> [B, classes] bool, true at the label; unlike ``one_hot`` it looks at no value."""
    return label[:, None] == torch.arange(classes, device=label.device)


def at_label(values: Tensor, label: Tensor) -> Tensor:
    """values [B, K] -> those at ``label`` [B].

    Unlike ``gather``, whose gradient no CUDA graph may hold in deterministic mode up to torch 2.10.
    """
    return -functional.nll_loss(values, label, reduction="none")


def unit_rows(rows: Tensor) -> Tensor:
    """rows [..., D] divided by their Euclidean norms; a zero row stays zero, gradient finite."""
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / torch.where(norm > TINY, norm, torch.ones_like(norm))
