"""How far a metric of the gap would move with other images, in closed form.

To first order each image moves a metric by its influence psi_i / M, so that the metric's standard
deviation over samples of M images is sqrt(sum psi_i^2) / M (infinitesimal jackknife: Jaeckel 1972;
Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", ch. 6). One pass over the
images takes the place of hundreds of bootstrap draws. Two methods that are measured on the same
images differ by the difference of their influences.

Shapes: M images, D features, P features of the other network. Rows of both sides are the same
images. Influences have mean 0 and the unit of their metric.
"""

from __future__ import annotations

import numpy as np

from analysis.feature_gap.features import Array, cka_of

TINY = 1e-9
"""Directions with less than this share of the largest variance count as empty."""


def deviation(influence: Array) -> float:
    """Standard deviation of a metric over samples of M images."""
    return float(np.sqrt((influence**2).sum()) / len(influence))


def cka_influence(cross: Array, own_x: Array, own_y: Array) -> Array:
    """On :func:`analysis.feature_gap.features.debiased_cka`, from the parts of its HSIC: [M]."""
    value = cka_of(cross.mean(), own_x.mean(), own_y.mean())
    scale = np.sqrt(own_x.mean() * own_y.mean())
    moved: Array = 2 * (cross - cross.mean()) / scale
    for own in (own_x, own_y):
        moved -= value * (own / own.mean() - 1)
    return moved


def unexplained_influence(predicted: Array, target: Array) -> Array:
    """On :func:`analysis.feature_gap.features.unexplained_variance`, the map being given: [M]."""
    error = ((target - predicted) ** 2).sum(axis=1)
    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=1)
    return _of_ratio(error.mean(), error - error.mean(), spread.mean(), spread - spread.mean())


def relative_frechet_influence(x: Array, y: Array, distance: float) -> Array:
    """On the Fréchet ``distance`` of x and y [M, D] over the total variance of y: [M].

    The distance's derivative by the covariances is 1 - T, where T is the optimal transport between
    the two Gaussians (Dowson and Landau 1982).
    """
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    shift = x.mean(axis=0) - y.mean(axis=0)
    moved = 2 * (a - b) @ shift  # of the means
    a, b = _in_their_span(a, b)
    left, right = a.T @ a / len(a), b.T @ b / len(b)
    for rows, own, other in ((a, left, right), (b, right, left)):
        each = (rows**2).sum(axis=1) - ((rows @ _transport(own, other)) * rows).sum(axis=1)
        moved = moved + each - each.mean()
    spread = (b**2).sum(axis=1)
    return _of_ratio(distance, moved, spread.mean(), spread - spread.mean())


def mmd_influence(parts: Array) -> Array:
    """On the mean of :func:`analysis.feature_gap.features.paired_mmd_parts`, from these: [M]."""
    moved: Array = 2 * (parts - parts.mean())
    return moved


def _of_ratio(above: float, moved_above: Array, below: float, moved_below: Array) -> Array:
    moved: Array = moved_above / below - above / below**2 * moved_below
    return moved


def _in_their_span(a: Array, b: Array) -> tuple[Array, Array]:
    """Both [M, D] in axes of the space that their rows span, where that is narrower than D.

    Nothing of either lies outside: inner products and covariances stay as they are.
    """
    if len(a) + len(b) >= a.shape[1]:
        return a, b
    axes = np.linalg.qr(np.concatenate([a, b]).T)[0]  # [D, 2 M]
    return a @ axes, b @ axes


def _transport(source: Array, target: Array) -> Array:
    """The matrix T that takes N(0, source) to N(0, target) by the shortest way.

    target^(1/2) (target^(1/2) source target^(1/2))^(-1/2) target^(1/2): T source T = target.
    """
    root = _power(target, 0.5)
    transport: Array = root @ _power(root @ source @ root, -0.5) @ root
    return transport


def _power(matrix: Array, exponent: float) -> Array:
    """Of a symmetric positive matrix; empty directions stay empty."""
    values, vectors = np.linalg.eigh(matrix)
    filled = values > TINY * values[-1]
    power: Array = (vectors[:, filled] * values[filled] ** exponent) @ vectors[:, filled].T
    return power
