"""Differences between methods, with the error that belongs to the claim.

The accuracy of a run is modelled as

    method + pair + teacher + method x pair + method x teacher + seed (the rest),

and every difference is the mean over pairs, teachers and seeds. What is common to both methods
cancels. How far the claim reaches decides what counts as error (:class:`Scope`). All methods of a
table share the estimates of these errors, so that three seeds of nine methods give eighteen degrees
of freedom instead of two. Differences to a method without a teacher have an error of their own:
what a teacher adds is common to all that it teaches and does not cancel there. Where the seeds of a
method scatter quite otherwise than those of others (one has collapsed, say), nothing is shared:
every difference has the error of its own two methods.

Source: analysis of variance of a split-plot design (e.g. Montgomery, Design and Analysis of
Experiments, ch. 13 and 14); degrees of freedom of sums of mean squares by Satterthwaite (1946);
simultaneous intervals by Tukey and Kramer (1956), without a shared error by Tamhane (1979, T2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from analysis.statistics.design import Array, Design
from analysis.statistics.images import ImageScores
from analysis.statistics.stats import Interval, scatter_alike

NAN = float("nan")
ROUNDING = 1e-9
"""A standard error below so many points is that of the arithmetic."""


class Scope(StrEnum):
    """What a claim is about, and what therefore counts as chance."""

    SEEDS = "seeds"
    """These pairs and these teachers, trained again."""
    IMAGES = "images"
    """The same, and tested on other images of the same kind: seeds and images are crossed."""
    TEACHERS = "teachers"
    """These pairs, with other teachers of the same kind: their part in the differences counts."""
    PAIRS = "pairs"
    """Pairs of this kind in general: the pairs count as a sample."""


@dataclass(frozen=True)
class MeanSquare:
    """An estimate of a variance and its degrees of freedom."""

    value: float
    degrees: float


@dataclass(frozen=True)
class Differences:
    """All differences between the methods of a design, row minus column.

    Each array is [M, M]; NaN where the design cannot say.
    """

    methods: list[str]
    scope: Scope
    difference: Array
    """Points."""
    standard_error: Array
    """Points."""
    degrees: Array
    """Degrees of freedom of the standard error."""
    pooled: bool
    """Whether all methods share the estimates of the errors."""

    @property
    def procedure(self) -> str:
        """How the intervals are made, for captions."""
        if self.pooled:
            return "Tukey-Kramer, error pooled over all rows"
        return "Tamhane's T2, each row with the spread of its own seeds, for these differ widely"

    @property
    def count(self) -> int:
        """M (M - 1) / 2"""
        return len(self.methods) * (len(self.methods) - 1) // 2

    def interval(self, method: str, reference: str) -> tuple[float, Interval]:
        """Difference of two methods and its simultaneous 95 % interval, points."""
        one, other = self.methods.index(method), self.methods.index(reference)
        difference, half = float(self.difference[one, other]), float(self._half_width[one, other])
        return difference, Interval(difference - half, difference + half)

    def p_of(self, method: str, reference: str) -> float:
        """Corrected two-sided p of two methods."""
        return float(self._p[self.methods.index(method), self.methods.index(reference)])

    def p_alone(self, method: str, reference: str) -> float:
        """The same of this difference alone, not corrected."""
        alone = self.p(simultaneous=False)
        return float(alone[self.methods.index(method), self.methods.index(reference)])

    @cached_property
    def _half_width(self) -> Array:
        return self.half_width()

    @cached_property
    def _p(self) -> Array:
        return self.p()

    def half_width(self, level: float = 0.95, *, simultaneous: bool = True) -> Array:
        """[M, M] half the width of the intervals.

        With ``simultaneous``, all M (M - 1) / 2 intervals hold together with probability ``level``
        (Tukey-Kramer, or Tamhane's T2 where errors are not pooled), otherwise each alone
        (Student's t). Degrees of freedom are rounded down to tenths, above 100 to tens.
        """
        count = len(self.methods)
        critical = np.full_like(self.degrees, NAN)
        step = np.where(self.degrees > 100, 10.0, 0.1)  # few distinct ones: each takes a while
        tenths = np.floor(self.degrees / step) * step
        for degrees in np.unique(tenths[~np.isnan(tenths)]):
            if simultaneous and self.pooled:
                value = _tukey(level, count, float(degrees))
            else:
                alone = level ** (1 / self.count) if simultaneous else level
                value = distributions.t.ppf((1 + alone) / 2, degrees)
            critical[tenths == degrees] = value
        return np.asarray(critical * self.standard_error)

    def p(self, *, simultaneous: bool = True) -> Array:
        """[M, M] two-sided p values; with ``simultaneous`` corrected for all differences."""
        t = np.abs(self.difference) / self.standard_error
        if simultaneous and self.pooled:
            values = distributions.studentized_range.sf(
                np.sqrt(2) * t, len(self.methods), self.degrees
            )
        else:
            values = 2 * distributions.t.sf(t, self.degrees)
            if simultaneous:
                values = -np.expm1(self.count * np.log1p(-values))  # Sidak
        return np.asarray(values, dtype=np.float64)

    def told_apart(self, level: float = 0.95) -> NDArray[np.bool_] | None:
        """[M, M]: whether the simultaneous interval leaves 0 out; None where there is none."""
        if np.isnan(self.standard_error).all():
            return None
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(self.difference) > self.half_width(level))

    def best(self) -> int:
        """Number of the method with the highest mean."""
        return int(np.argmax(self.difference[:, 0]))


def compare(
    design: Design, scope: Scope = Scope.SEEDS, images: Sequence[ImageScores] = ()
) -> Differences:
    """Differences and their standard errors for claims of this scope.

    Args:
        design: The runs; every method has at least one in every unit.
        scope: How far the claim is to reach.
        images: What each test set says of its images, for ``images``.

    Returns:
        The differences. Standard errors are NaN where the design cannot give them: no cell with two
        runs (``seeds``), runs without predictions (``images``), one teacher for every pair
        (``teachers``), one pair (``pairs``).
    """
    count = len(design.methods)
    weights = np.einsum("u,mug->mg", design.unit_weights, design.cell_means)  # [M, G]
    means = weights @ design.groups["mean"].to_numpy()
    error, degrees = np.full((count, count), NAN), np.full((count, count), NAN)
    pooled = scatter_alike(design.groups["squares"], design.groups["size"] - 1)
    for one in range(count):
        for other in range(one):
            contrast = weights[one] - weights[other]
            if scope is Scope.IMAGES:
                found = _with_images(design, contrast, images, pooled=pooled)
            elif scope is Scope.SEEDS:
                found = _between_seeds(design, contrast, pooled=pooled)
            else:
                found = _error(design, scope, (one, other), contrast, pooled=pooled)
            error[one, other] = error[other, one] = _root(found.value)
            degrees[one, other] = degrees[other, one] = found.degrees
    return Differences(design.methods, scope, means[:, None] - means, error, degrees, pooled)


def seed_error(design: Design, among: Array | None = None) -> MeanSquare:
    """Variance between runs that differ by their seed alone, points^2.

    Pooled over all groups, or over those whose weight ``among`` [G] is not 0.
    """
    groups = design.groups if among is None else design.groups[among != 0]
    degrees = int((groups["size"] - 1).sum())
    return MeanSquare(groups["squares"].sum() / degrees if degrees else NAN, degrees)


def interaction(
    design: Design, methods: NDArray[np.int64], scope: Scope
) -> tuple[MeanSquare, float]:
    """How much the differences between ``methods`` vary over teachers or pairs.

    Args:
        design: The runs.
        methods: Numbers of the methods that share the estimate.
        scope: ``teachers`` (within each pair) or ``pairs`` (means over their teachers).

    Returns:
        The mean square of method x teacher or method x pair, in points^2, and the factor with which
        the variance between seeds is part of it.
    """
    cells = design.cell_means[methods]  # [m, U, G]
    strata = design.pair_of_unit
    if scope is Scope.PAIRS:
        to_pair = np.eye(strata.max() + 1)[strata].T  # [P, U]
        cells = np.einsum("pu,mug->mpg", to_pair / to_pair.sum(axis=1, keepdims=True), cells)
        strata = np.zeros(cells.shape[1], dtype=np.int64)
    rest = cells - cells.mean(axis=0)
    for stratum in np.unique(strata):
        inside = strata == stratum
        rest[:, inside] -= rest[:, inside].mean(axis=1, keepdims=True)
    degrees = (len(methods) - 1) * (len(strata) - len(np.unique(strata)))
    if degrees <= 0:
        return MeanSquare(NAN, 0), NAN
    squares = float(((rest @ design.groups["mean"].to_numpy()) ** 2).sum())
    return MeanSquare(squares / degrees, degrees), design.variance_of(rest) / degrees


def _root(variance: float) -> float:
    """The standard error; NaN where all differences are equal, which says nothing of chance."""
    return float(np.sqrt(variance)) if variance > ROUNDING**2 else NAN


@cache
def _tukey(level: float, count: int, degrees: float) -> float:
    """What |difference| / standard error stays below for all differences of ``count`` means."""
    return float(distributions.studentized_range.ppf(level, count, degrees) / np.sqrt(2))


def _between_seeds(design: Design, contrast: Array, *, pooled: bool) -> MeanSquare:
    """Variance of a difference over seeds: ``contrast`` [G] is its weight of every group's mean."""
    if pooled:
        seed = seed_error(design)
        return MeanSquare(design.variance_of(contrast) * seed.value, seed.degrees or NAN)
    parts = []
    for place in np.flatnonzero(contrast):
        alone = np.zeros_like(contrast)
        alone[place] = contrast[place]
        own = seed_error(design, alone)
        parts.append(MeanSquare(design.variance_of(alone) * own.value, own.degrees))
    return _sum(*parts)


def _error(
    design: Design, scope: Scope, pair: tuple[int, int], contrast: Array, *, pooled: bool
) -> MeanSquare:
    """The same over teachers or pairs."""
    by_seed = design.variance_of(contrast)
    seed = seed_error(design, None if pooled else contrast)
    together = np.flatnonzero(design.taught)
    shared = pooled and design.taught[list(pair)].all()
    sharing = together if shared else np.array(pair)
    found, seed_part = interaction(design, sharing, scope)
    by_unit = _squared_weights(design, scope)
    rest = by_seed - by_unit * seed_part  # what shared runs add
    if abs(rest) < 1e-12 * by_seed:
        return MeanSquare(by_unit * found.value, found.degrees or NAN)
    return _sum(
        MeanSquare(by_unit * found.value, found.degrees),
        MeanSquare(rest * seed.value, seed.degrees),
    )


def _with_images(
    design: Design, contrast: Array, images: Sequence[ImageScores], *, pooled: bool
) -> MeanSquare:
    """Variance of one difference over seeds and test images."""
    known = {int(group) for it in images for group in it.groups}
    if not set(np.flatnonzero(contrast)) <= known:
        return MeanSquare(NAN, NAN)
    by_image = [MeanSquare(it.variance_of(contrast), it.images - 1) for it in images]
    return _sum(_between_seeds(design, contrast, pooled=pooled), *by_image)


def _sum(*parts: MeanSquare) -> MeanSquare:
    """Of independent estimates, with Satterthwaite's degrees of freedom."""
    total = sum(part.value for part in parts)
    if not total > 0:  # also NaN
        return MeanSquare(NAN, NAN)
    spread = sum(part.value**2 / part.degrees for part in parts if part.value)
    return MeanSquare(total, total**2 / spread)


def _squared_weights(design: Design, scope: Scope) -> float:
    """Sum of the squared weights of the units of both methods of a difference."""
    if scope is Scope.PAIRS:
        return 2 / (int(design.pair_of_unit.max()) + 1)
    return 2 * float((design.unit_weights**2).sum())
