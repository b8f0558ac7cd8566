"""Fixed stratified choices of images: the same for every seed, every machine, every method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]

SPLIT_SEED = 2602
"""Decides which images validate. A constant: changing it makes all validation figures new."""


def stratified_order(labels: Labels) -> Indices:
    """An order of all images whose every prefix has the classes in proportion, up to rounding.

    Within a class the order is random but fixed. The j-th image of a class of n takes the place
    (j + 1/2) / n, so that prefixes are nested and balanced.
    """
    random = np.random.default_rng(SPLIT_SEED)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, place)).astype(np.int64)


def hold_out(labels: Labels, count: int) -> tuple[Indices, Indices]:
    """(kept, held out): ``count`` images held out, classes in proportion; both sorted."""
    order = stratified_order(labels)
    return np.sort(order[count:]), np.sort(order[:count])


def limit(labels: Labels, count: int) -> Indices:
    """``count`` images, classes in proportion, sorted; a smaller choice is part of a larger."""
    return np.sort(stratified_order(labels)[:count])
