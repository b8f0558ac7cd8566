"""How far a figure of the gap would move with other images: the bootstrap, in closed form.

A bootstrap draws M images with replacement and measures again. To first order each image moves the
figure by its influence psi_i / M, so that the deviation over such draws is sqrt(sum psi_i^2) / M
(infinitesimal jackknife: Jaeckel 1972; Efron 1982, "The Jackknife, the Bootstrap and Other
Resampling Plans", ch. 6). One pass over the images takes the place of hundreds.

Shapes: M images, D features, P features of the other network. Rows of both sides are the same
images. Influences have mean 0 and the unit of their figure.
"""

from __future__ import annotations

import numpy as np

from analysis.feature_gap.features import Array

TINY = 1e-9
"""Directions with less than this share of the largest variance count as empty."""


def deviation(influence: Array) -> float:
    """Standard deviation of a figure over bootstrap draws of its M images."""
    return float(np.sqrt((influence**2).sum()) / len(influence))


def cka_influence(x: Array, y: Array) -> Array:
    """On :func:`analysis.feature_gap.features.linear_cka` of x [M, D] and y [M, P]: [M]."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    sides = ((a, b), (a, a), (b, b))
    moved = []  # relative influence on ||A'B||^2, ||A'A||^2, ||B'B||^2
    with np.errstate(divide="ignore", invalid="ignore"):  # nan where all features are alike
        for left, right in sides:
            cross = left.T @ right / len(left)  # [D, P]
            each = ((left @ cross) * right).sum(axis=1)
            moved.append(2 * (each / (cross**2).sum() - 1))
        cross, own_x, own_y = (np.linalg.norm(left.T @ right) for left, right in sides)
        value = cross**2 / (own_x * own_y)
    found: Array = value * (moved[0] - moved[1] / 2 - moved[2] / 2)
    return found


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
    left, right = a.T @ a / len(a), b.T @ b / len(b)
    moved = 2 * (a - b) @ shift  # of the means
    for rows, own, other in ((a, left, right), (b, right, left)):
        each = (rows**2).sum(axis=1) - ((rows @ _transport(own, other)) * rows).sum(axis=1)
        moved = moved + each - each.mean()
    spread = (b**2).sum(axis=1)
    return _of_ratio(distance, moved, spread.mean(), spread - spread.mean())


def mmd_influence(parts: Array) -> Array:
    """On the paired :func:`mmd`, from what each image adds to it: [M]."""
    found: Array = 2 * (parts - parts.mean())
    return found


def _of_ratio(above: float, moved_above: Array, below: float, moved_below: Array) -> Array:
    found: Array = moved_above / below - above / below**2 * moved_below
    return found


def _transport(source: Array, target: Array) -> Array:
    """The matrix T that takes N(0, source) to N(0, target) by the shortest way.

    target^(1/2) (target^(1/2) source target^(1/2))^(-1/2) target^(1/2): T source T = target.
    """
    root = _power(target, 0.5)
    found: Array = root @ _power(root @ source @ root, -0.5) @ root
    return found


def _power(matrix: Array, exponent: float) -> Array:
    """Of a symmetric positive matrix; empty directions stay empty."""
    values, vectors = np.linalg.eigh(matrix)
    there = values > TINY * values[-1]
    found: Array = (vectors[:, there] * values[there] ** exponent) @ vectors[:, there].T
    return found
