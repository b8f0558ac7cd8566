"""The median of repeats and its interval, without a distribution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from analysis.statistics.stats import Interval, present


def median_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Interval of a median from order statistics (Conover 1999, Practical Nonparametric
    Statistics, Sec. 3.2).

    Args:
        values: [n] independent repeats; NaN is left out.
        level: Least probability that it holds the median, whatever the distribution.

    Returns:
        The narrowest interval between two values at equal distance from both ends; NaN where even
        smallest and largest are not enough (below 6 values at 95 %).
    """
    ordered = np.sort(present(values))
    n = len(ordered)
    outside = [rank for rank in range(n // 2) if 2 * binom.cdf(rank, n, 0.5) <= 1 - level]
    if not outside:
        return Interval(math.nan, math.nan)
    cut = outside[-1]
    return Interval(float(ordered[cut]), float(ordered[n - 1 - cut]))
