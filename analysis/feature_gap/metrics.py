"""The metrics of the gap, one function each: tables, figures and caches find them here.

A metric takes a :class:`analysis.feature_gap.views.View` and gives a :class:`Measured`. The
decorator says how it is shown; its name is the function's. ``docs/extending.md`` has an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.feature_gap import features, image_noise
from analysis.feature_gap.features import Array
from analysis.feature_gap.views import View

SEED = 20260213  # directions, hyperplanes and halves, the same for all runs
SLICES, BITS = 64, 256
IMAGES = 500
"""Kernel metrics use the first so many images: their cost grows with the square."""


@dataclass(frozen=True)
class Measured:
    """The value of a metric and, where it is known, what each image does to it."""

    value: float
    influence: Array | None = None
    """[M], see :mod:`analysis.feature_gap.image_noise`: gives intervals over images."""


@dataclass(frozen=True)
class Metric:
    """A metric and how it is shown."""

    measure: Callable[[View], Measured]
    title: str
    digits: int
    higher_is_closer: bool
    over_epochs: bool
    """Measured over training, too: for what is quick to compute."""
    drawn: bool
    """Has a panel in the figures."""


METRICS: dict[str, Metric] = {}


def metric(
    title: str,
    digits: int,
    *,
    higher_is_closer: bool = False,
    over_epochs: bool = False,
    drawn: bool = False,
) -> Callable[[Callable[[View], Measured]], Callable[[View], Measured]]:
    """Make a function a metric of the gap.

    Args:
        title: Header of its column and label of its axis.
        digits: Decimals in tables.
        higher_is_closer: Whether larger values mean a smaller gap.
        over_epochs: Whether it is quick enough to be measured over training.
        drawn: Whether it has a panel in the figures.

    Returns:
        A decorator that registers the function under its name.
    """

    def register(measure: Callable[[View], Measured]) -> Callable[[View], Measured]:
        METRICS[measure.__name__] = Metric(
            measure, title, digits, higher_is_closer, over_epochs, drawn
        )
        return measure

    return register


@metric("debiased CKA", 2, higher_is_closer=True, over_epochs=True, drawn=True)
def cka(view: View) -> Measured:
    """Similarity of the student's own features to the teacher's; needs no common space."""
    parts = features.hsic_parts(view.raw, view.teacher)
    value = features.cka_of(*(part.mean() for part in parts))
    return Measured(value, None if np.isnan(value) else image_noise.cka_influence(*parts))


@metric("unexplained variance", 2, over_epochs=True, drawn=True)
def unexplained(view: View) -> Measured:
    """Share of the teacher's variance that no linear map of the student's features predicts."""
    return Measured(
        features.unexplained_variance(view.mapped, view.teacher),
        image_noise.unexplained_influence(view.mapped, view.teacher),
    )


@metric("Fréchet distance", 2, over_epochs=True, drawn=True)
def frechet(view: View) -> Measured:
    """Without its bias by the number of images, in units of the teacher's total variance."""
    rng = np.random.default_rng(SEED)
    distance = features.corrected_frechet(view.mapped, view.teacher, rng)
    influence = image_noise.relative_frechet_influence(view.mapped, view.teacher, distance)
    return Measured(distance / view.variance, influence)


@metric("MMD² × 1000", 2, drawn=True)
def mmd(view: View) -> Measured:
    """Gaussian kernel as wide as the median distance of the teacher's features."""
    mapped, teacher = view.mapped[:IMAGES], view.teacher[:IMAGES]
    parts = features.paired_mmd_parts(
        mapped, teacher, _bandwidth(teacher.tobytes(), teacher.shape[1])
    )
    return Measured(1000 * float(parts.mean()), 1000 * image_noise.mmd_influence(parts))


@metric("sliced Wasserstein", 2)
def wasserstein(view: View) -> Measured:
    """In units of the teacher's standard deviation per direction."""
    unit = np.sqrt(view.variance / view.teacher.shape[1])
    rng = np.random.default_rng(SEED)
    return Measured(features.sliced_wasserstein(view.mapped, view.teacher, rng, SLICES) / unit)


@metric("hash agreement", 2, higher_is_closer=True)
def hash_agreement(view: View) -> Measured:
    """Share of equal bits of random-hyperplane codes."""
    rng = np.random.default_rng(SEED)
    return Measured(features.hash_agreement(view.mapped, view.teacher, rng, BITS))


@metric("angle (°)", 1)
def angle(view: View) -> Measured:
    """Mean angle between the centred features of an image."""
    centred = (side - side.mean(axis=0) for side in (view.mapped, view.teacher))
    return Measured(float(np.nanmean(features.angles(*centred))))


@metric("class gap", 2)
def class_gap(view: View) -> Measured:
    """Mean distance of the class means over the spread within classes."""
    return Measured(float(features.class_gap(view.mapped, view.teacher, view.label).mean()))


@metric("class geometry", 2, higher_is_closer=True)
def class_geometry(view: View) -> Measured:
    """Whether the same classes are near and far; needs no common space."""
    return Measured(features.class_geometry(view.raw, view.teacher, view.label))


@lru_cache(maxsize=32)
def _bandwidth(teacher: bytes, columns: int) -> float:
    """Of the rows behind ``teacher``, which many runs share."""
    return features.median_bandwidth(np.frombuffer(teacher).reshape(-1, columns))
