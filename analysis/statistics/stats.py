"""Statistics on one contract: an array of scores [S seeds, P pairs], NaN where a run is missing.

Row s of two methods holds runs of the same seed (same initialisation, data order and teacher), so
that differences are paired. One pair alone may be given as [S]. Randomness comes only from the
generator that is passed in.

Shapes: S seeds, P pairs of networks, M methods, R resamples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from suite.interface.errors import UserError

Array = NDArray[np.float64]
EXACT = 8
"""Points of a rank correlation up to which all orders are counted."""
AT_A_TIME = 500_000
"""Numbers of resamples that are in memory together."""
ROUNDING = 1e-10
"""Share of the largest number below which two numbers differ by rounding alone: float64 keeps 16
digits, and scores that differ by one image of a billion differ by more."""
ALPHA = 0.05
"""Chance of an error of the first kind that tests and families of tests keep to."""
SCATTER_ALPHA = 0.001
"""Chance that samples which scatter alike are said not to: so small that it costs no coverage."""
NORMAL_95 = 1.96
"""Deviations to either side of its mean that hold 95 % of a normal distribution."""


class StatisticsError(UserError):
    """The arrays do not fit the contract."""


class Interval(NamedTuple):
    """A closed interval; NaN where there are too few values for one."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """True if ``value`` is inside; False for an undefined interval."""
        return bool(self.low <= value <= self.high)


def present(values: ArrayLike) -> Array:
    """The values that are there, as a flat array."""
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[~np.isnan(array)]


def mean(values: ArrayLike) -> float:
    """Arithmetic mean of the values that are there; NaN for none."""
    array = present(values)
    return float(array.mean()) if len(array) else float("nan")


def sd(values: ArrayLike) -> float:
    """Sample standard deviation (n - 1); NaN for fewer than two values, 0 for equal ones.

    Values that differ by rounding alone (:data:`ROUNDING`) are equal.
    """
    array = present(values)
    if len(array) < 2:
        return float("nan")
    equal = np.ptp(array) <= ROUNDING * np.abs(array).max()
    return 0.0 if equal else float(array.std(ddof=1))


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of the mean, mean ± t(n-1) sd / sqrt(n).

    NaN for fewer than two values, and for equal ones, of which it would have no width.
    """
    array = present(values)
    spread = sd(array)
    if not spread > 0:
        return Interval(float("nan"), float("nan"))
    half = stats.t.ppf((1 + level) / 2, len(array) - 1) * spread / np.sqrt(len(array))
    return Interval(float(array.mean() - half), float(array.mean() + half))


def bootstrap_interval(
    scores: ArrayLike,
    rng: np.random.Generator,
    statistic: Callable[[Array], Array] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval by the stratified bootstrap (Agarwal et al. 2021, Sec. 4.1).

    Seeds are resampled within each pair (pairs are fixed: they are the benchmark, not a sample).
    With fewer than 5 seeds it is too narrow (a resample can only repeat what was seen): prefer
    :func:`t_interval` for a mean.

    Args:
        scores: [S, P]
        rng: Draws the resamples.
        statistic: Takes [R, S * P] to [R] or [R, ...]; None for the mean over pairs of the mean
            over seeds. Pairs with fewer seeds are drawn up to as many as the others have.
        level: Of the interval.
        resamples: R.
    """
    columns = [present(column) for column in _grid(scores).T]
    if any(len(column) < 2 for column in columns):
        return Interval(float("nan"), float("nan"))
    taken = statistic or (lambda rows: rows.mean(axis=1))
    values = np.concatenate([taken(rows) for rows in _resampled(columns, rng, resamples)])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _resampled(
    columns: Sequence[Array], rng: np.random.Generator, resamples: int
) -> Iterator[Array]:
    """[R, S * P] in parts of some rows: of every column as many as the longest has.

    All resamples of a column are drawn before those of the next. So the generator passes over them
    once, and they are drawn again part by part: together they would take hundreds of megabytes.
    """
    size = max(map(len, columns))
    rows = max(1, AT_A_TIME // (size * len(columns)))
    parts = [(min(rows, resamples - start), size) for start in range(0, resamples, rows)]
    again = []
    for column in columns:
        again.append(deepcopy(rng))
        for part in parts:
            rng.integers(len(column), size=part)
    for part in parts:
        drawn = [
            column[draws.integers(len(column), size=part)]
            for column, draws in zip(columns, again, strict=True)
        ]
        yield np.concatenate(drawn, axis=1)


def performance_profile(
    scores: ArrayLike, points: Array, rng: np.random.Generator, resamples: int = 500
) -> tuple[Array, Array, Array]:
    """Share of the runs [S, P] above each of ``points`` [T], mean over pairs, with a 95 % band.

    Agarwal et al. 2021, Sec. 4.2; the band is by the stratified bootstrap, point by point; NaN
    where a pair has a single run.
    """
    columns = [column for column in map(present, _grid(scores).T) if len(column)]
    above = [(column[:, None] > points).mean(axis=0) for column in columns]
    share = np.mean(above, axis=0)
    if any(len(column) < 2 for column in columns):
        return share, np.full_like(share, np.nan), np.full_like(share, np.nan)
    shares = np.concatenate(
        [
            _shares_above(np.sort(rows, axis=1), points)
            for rows in _resampled(columns, rng, resamples)
        ]
    )
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return share, low, high


def _shares_above(ordered: Array, points: Array) -> Array:
    """[R, T] of rows [R, N] in rising order."""
    size = ordered.shape[1]
    return np.stack([(size - np.searchsorted(row, points, side="right")) / size for row in ordered])


def interquartile_mean(scores: Array) -> Array:
    """Mean of the middle half of the last axis (Agarwal et al. 2021, Sec. 4.3)."""
    return np.asarray(stats.trim_mean(scores, 0.25, axis=-1))


def paired_differences(scores: ArrayLike, reference: ArrayLike) -> Array:
    """``scores - reference`` [S, P]: a run without its partner gives NaN and counts nowhere.

    Differences whose sizes differ by rounding alone get one size, and 0 where that is their size:
    47.9 - 42.1, 48.6 - 42.8 and 47.0 - 41.2 are equal (in float64 they are not).
    """
    left, right = _grid(scores), _grid(reference)
    if left.shape != right.shape:
        raise StatisticsError(f"scores are {left.shape}, reference {right.shape}: must be equal")
    differences = left - right
    largest = np.abs(present([left, right])).max(initial=0.0)
    return np.sign(differences) * _merged(np.abs(differences), ROUNDING * largest)


def _merged(sizes: Array, tolerance: float) -> Array:
    """``sizes`` (at least 0) with one value for those that follow within ``tolerance``, from 0."""
    flat = sizes.ravel()
    order = np.argsort(flat, kind="stable")  # NaN last
    ordered = flat[order]
    starts = np.diff(ordered, prepend=0.0) > tolerance
    groups = np.cumsum(starts)
    firsts = np.concatenate([[0.0], ordered[starts]])
    merged = np.empty_like(flat)
    merged[order] = np.where(np.isnan(ordered), np.nan, firsts[groups])
    return merged.reshape(sizes.shape)


def sd_interval(spread: float, n: int, level: float = 0.95) -> Interval:
    """Interval of the standard deviation of normal values, from that of ``n`` (chi squared)."""
    if n < 2 or not spread > 0:
        return Interval(float("nan"), float("nan"))
    ends = stats.chi2.ppf(np.array([(1 + level) / 2, (1 - level) / 2]), n - 1)
    low, high = spread * np.sqrt((n - 1) / ends)
    return Interval(float(low), float(high))


def scatter_alike(squares: ArrayLike, degrees: ArrayLike) -> bool:
    """Whether no sample scatters so far that it must not share an error with the others.

    ``squares`` and ``degrees``: of each sample its sum of squared deviations and its size less 1.
    The sample with the largest variance against all others, at :data:`SCATTER_ALPHA`. Source:
    Cochran (1941), here as an F test with Bonferroni's bound for the choice of the largest.
    """
    freedom = np.asarray(degrees, dtype=np.float64)
    several = freedom > 0
    freedom, found = freedom[several], np.asarray(squares, dtype=np.float64)[several]
    if len(found) < 2:
        return True
    largest = int(np.argmax(found / freedom))
    rest, rest_degrees = found.sum() - found[largest], freedom.sum() - freedom[largest]
    if rest <= ROUNDING * found[largest]:
        return True  # nothing else says how far runs scatter
    ratio = found[largest] / freedom[largest] / (rest / rest_degrees)
    chance = len(found) * float(stats.f.sf(ratio, freedom[largest], rest_degrees))
    return chance >= SCATTER_ALPHA


def correlation_of_pairs(scores: ArrayLike, reference: ArrayLike) -> float:
    """Pearson's r between runs of the same seed, pooled within pairs of networks; NaN without any
    spread."""
    left, right = _grid(scores), _grid(reference)
    both = ~(np.isnan(left) | np.isnan(right))
    parts = [
        (column[rows] - column[rows].mean(), other[rows] - other[rows].mean())
        for column, other, rows in zip(left.T, right.T, both.T, strict=True)
        if rows.sum() > 1
    ]
    if not parts:
        return float("nan")
    a, b = (np.concatenate(side) for side in zip(*parts, strict=True))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else float("nan")


def holm(p_values: Sequence[float]) -> Array:
    """Holm's step-down correction for a family of tests; NaN entries are no tests and stay NaN."""
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(raw))
    order = tests[np.argsort(raw[tests], kind="stable")]
    worst = 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(tests) - rank) * raw[index]))
        adjusted[index] = worst
    return adjusted


def probability_of_improvement(scores: ArrayLike, reference: ArrayLike) -> float:
    """P(a run of ``scores`` beats a run of ``reference``), ties half, mean over pairs, in [0, 1].

    The Mann-Whitney statistic over all S x S comparisons within a pair (Agarwal et al. 2021,
    "Deep RL at the Edge of the Statistical Precipice", Sec. 4.3). Pairs without runs do not count.
    """
    left, right = _grid(scores), _grid(reference)
    if left.shape[1] != right.shape[1]:
        raise StatisticsError(f"{left.shape[1]} pairs against {right.shape[1]}: must be equal")
    shares = []
    for ours, theirs in zip(left.T, right.T, strict=True):
        a, b = present(ours), present(theirs)
        if len(a) and len(b):
            found = stats.mannwhitneyu(a, b, method="asymptotic")
            shares.append(float(found.statistic) / (len(a) * len(b)))
    return mean(shares)


@dataclass(frozen=True)
class Ranks:
    """Ranks of M methods over N blocks; rank 1 is best."""

    average: Array
    """[M]"""
    blocks: int
    critical_difference: float
    """Two average ranks that differ by less are not told apart (Nemenyi, alpha 0.05)."""


def average_ranks(scores: ArrayLike, alpha: float = 0.05) -> Ranks:
    """Ranks of ``scores`` [N blocks, M methods], higher is better, ties share their rank.

    A block is one pair, a mean over its runs: those of one pair agree on what is easy there, and
    would count as evidence several times. Blocks with a hole are left out. Critical difference
    q_alpha sqrt(M (M + 1) / (6 N)) with the studentised range over sqrt(2) (Demsar 2006, Sec. 3.2).
    """
    grid = np.asarray(scores, dtype=np.float64)
    if grid.ndim != 2 or grid.shape[1] < 2:
        raise StatisticsError(f"ranks need [blocks, at least 2 methods], got {grid.shape}")
    grid = grid[~np.isnan(grid).any(axis=1)]
    blocks, methods = grid.shape
    if not blocks:
        return Ranks(np.full(methods, np.nan), 0, float("nan"))
    ranks = stats.rankdata(-grid, axis=1)
    q = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / np.sqrt(2)
    difference = float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))
    return Ranks(ranks.mean(axis=0), blocks, difference)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Spearman's rho and its two-sided p; NaN for fewer than three points or constant input.

    p is exact (all orders) up to :data:`EXACT` points, beyond from Student's t.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), float("nan")
    found = stats.spearmanr(a, b)
    rho = float(found.statistic)
    if len(a) > EXACT:
        return rho, float(found.pvalue)
    left, right = (stats.rankdata(side) - (len(a) + 1) / 2 for side in (a, b))
    orders = np.array(list(itertools.permutations(right)))  # [n!, n]
    products, seen = orders @ left, abs(float(left @ right))
    return rho, float(np.mean(np.abs(products) >= seen - 1e-9))


def _grid(scores: ArrayLike) -> Array:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise StatisticsError(f"scores must be [seeds, pairs], got shape {array.shape}")
    return array
