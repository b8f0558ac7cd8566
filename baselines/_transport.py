"""Costs between classes and optimal transport between predictions (``wkd_l``).

Shapes: K classes, n images (or pixels) of a class, D features, B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from baselines._losses import TINY, in_float32

EPSILON = 1e-8  # beside every quotient and cost, JiamingLv/WKD distillers/WKD.py
CHUNK_VALUES = 2**26
"""Products of features held at once while classes are compared: 256 MiB in float32."""


@torch.no_grad()
def class_distance(features: Tensor) -> Tensor:
    """features [K, n, D] -> 1 - linear CKA of every two classes, [K, K].

    The i-th samples of two classes are a pair. A class of equal samples is at distance 1 from all;
    the diagonal is 0 up to rounding.
    """
    features = in_float32(features)
    classes, _, width = features.shape
    similarity = features.new_zeros(classes, classes)
    at_once = max(CHUNK_VALUES // width**2, 1)
    for row in range(classes):
        centred = features[row] - features[row].mean(0)  # products then ignore the others' means
        for first in range(row, classes, at_once):
            others = features[first : first + at_once]  # [m, n, D]
            products = torch.matmul(centred.T, others)  # [m, D, D]
            similarity[row, first : first + at_once] = products.square().sum((1, 2))
    similarity = similarity.triu() + similarity.triu(1).T
    size = similarity.diagonal().sqrt()
    norms = size[:, None] * size
    return 1 - similarity / torch.where(norms > TINY, norms, torch.ones_like(norms))


@torch.no_grad()
def classifier_distance(weight: Tensor) -> Tensor:
    """1 - cosine of the rows of a classifier's weight [K, D], [K, K]."""
    rows = torch.nn.functional.normalize(in_float32(weight), dim=1)
    return 1 - rows @ rows.T


def transport_cost(distance: Tensor, sharpen: float) -> Tensor:
    """Distances d [K, K] -> max(1 - exp(-k d), 0) + 1e-8; k is ``sharpen``, 0 leaves d as it is."""
    cost = 1 - torch.exp(-sharpen * distance) if sharpen > 0 else distance
    return cost.relu() + EPSILON


def sinkhorn(
    student: Tensor, teacher: Tensor, allowed: Tensor, kernel: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Scalings u, v [B, K] of the plan diag(u) G diag(v) between two distributions [B, K].

    ``allowed`` [B, K] bool says which classes take part; the distributions are 0 elsewhere, and so
    are u and v. ``kernel`` G is [K, K]. Each iteration fits the teacher's marginal, then the
    student's, which holds at the end.
    """
    scale_s = allowed.to(student.dtype) / allowed.sum(1, keepdim=True).clamp(min=1)
    scale_t = scale_s
    for _ in range(iterations):
        scale_t = teacher / (scale_s @ kernel + EPSILON)
        scale_s = student / (scale_t @ kernel.T + EPSILON)
    return scale_s, scale_t


def transport_loss(
    student: Tensor,
    teacher: Tensor,
    allowed: Tensor,
    cost: Tensor,
    regularization: float,
    iterations: int,
) -> Tensor:
    """Cost of the entropic plan between distributions [B, K] x 2, mean over the batch.

    The plan's cost alone, without the entropy. ``cost`` [K, K] is shared by all images.
    """
    kernel = torch.exp(-cost / regularization)
    scale_s, scale_t = sinkhorn(student, teacher, allowed, kernel, iterations)
    return (scale_s @ (kernel * cost) * scale_t).sum(1).mean()
