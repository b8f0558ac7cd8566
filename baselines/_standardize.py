"""Logit standardization: what the methods of logits read in its place (``lskd``).

Shapes: B batch, K classes.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from baselines._losses import in_float32

EPSILON = 1e-7  # beside the standard deviation, logit-standardization-KD distillers/KD.py

Variant = Literal["code", "paper"]


def standardize(logits: Tensor, variant: Variant = "code") -> Tensor:
    """logits [B, K] -> the same with mean 0 and standard deviation 1 in every row.

    The gradient passes through both figures. ``code`` divides by the sample's standard deviation
    (K - 1), ``paper`` by the population's (K). A row of equal values becomes 0, a single class too.
    """
    logits = in_float32(logits)
    centred = logits - logits.mean(1, keepdim=True)
    if logits.shape[1] == 1:
        return centred
    deviation = logits.std(1, correction=int(variant == "code"), keepdim=True)
    return centred / (EPSILON + deviation)
