"""The median of repeats and its interval, without a distribution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import quantile_test

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
    known = present(values)
    if not len(known):
        return Interval(math.nan, math.nan)
    limits = quantile_test(known, p=0.5).confidence_interval(level)
    return Interval(*np.asarray(limits).tolist())
