"""Fixed stratified choices of images: the same for every seed, every machine, every method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from suite.config import DataConfig
from suite.data.base import DataError

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]

SPLIT_SEED = 2602
"""Decides which images validate. A constant: changing it makes all validation figures new."""


def stratified_order(labels: Labels) -> Indices:
    """An order of all images whose every prefix has the classes in proportion, up to rounding.

    Within a class the order is random but fixed. The j-th image of a class of n takes the place
    (j + 1/2) / n, so that prefixes are nested and balanced.
    """
    random = np.random.RandomState(SPLIT_SEED)  # its stream is frozen over numpy's versions
    place = np.empty(len(labels))
    by_label = np.argsort(labels, kind="stable")
    for group in np.split(by_label, np.flatnonzero(np.diff(labels[by_label])) + 1):
        members = random.permutation(group)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.lexsort((labels, place)).astype(np.int64)


def hold_out(labels: Labels, count: int) -> tuple[Indices, Indices]:
    """(kept, held out): ``count`` images held out, classes in proportion; both sorted."""
    order = stratified_order(labels)
    return np.sort(order[count:]), np.sort(order[:count])


def limit(labels: Labels, count: int) -> Indices:
    """``count`` images, classes in proportion, sorted; a smaller choice is part of a larger."""
    return np.sort(stratified_order(labels)[:count])


def of_classes(config: DataConfig, labels: Labels) -> NDArray[np.bool_]:
    """Which images with ``labels`` [N] are of the classes that ``config`` wants: [N]."""
    if config.classes is None:
        return np.ones(len(labels), dtype=np.bool_)
    return (labels >= config.first_class) & (labels < config.first_class + config.classes)


def training_and_validation(
    config: DataConfig, labels: Labels, validation_images: int
) -> tuple[Indices, Indices]:
    """Which of the images with ``labels`` train, and which validate, as ``config`` wants it.

    With ``trainval`` all images train and none validates. Raises :class:`DataError` when
    ``train_limit`` asks for more images than there are. The validation images of some classes are
    those of the whole set.
    """
    rows, validation = hold_out(labels, validation_images)
    if config.train_split == "trainval":
        rows, validation = np.arange(len(labels)), validation[:0]
    kept = of_classes(config, labels)
    rows, validation = rows[kept[rows]], validation[kept[validation]]
    wanted = config.train_limit
    if wanted is None:
        return rows, validation
    if wanted > len(rows):
        raise DataError(
            f"data.train_limit {wanted}: {config.name} has {len(rows)} images in split "
            f"{config.train_split!r}"
        )
    return rows[limit(labels[rows], wanted)], validation
