"""What a paired t test can find: power, the smallest detectable difference, seeds needed."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi, t

MOST_SEEDS = 1000
WANTED = 0.8
"""Chance to find a true difference that studies are planned for."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)  # of an integral over one part


def power(difference: float, sd_of_differences: float, n: int, alpha: float = 0.05) -> float:
    """Chance that a two-sided paired t test on ``n`` seeds finds a true ``difference``, in [0, 1].

    The tails of the noncentral t distribution with noncentrality difference sqrt(n) / sd. NaN for
    n < 2, and where the standard deviation is 0 or unknown: nothing says how far runs scatter.

    With V ~ chi2(n - 1), T = (Z + shift) / sqrt(V / (n - 1)): the tails are normal tails averaged
    over the spread sqrt(V / (n - 1)). ``scipy.stats.nct`` gives NaN for n = 2 and large shifts.
    """
    if n < 2 or not sd_of_differences > 0:
        return float("nan")
    freedom = n - 1
    critical = float(t.ppf(1 - alpha / 2, freedom))
    shift = abs(difference) * np.sqrt(n) / sd_of_differences
    scale = np.sqrt(freedom)

    first, last = chi.ppf([1e-15, 1 - 1e-15], freedom) / scale
    middle, width = shift / critical, 9 / critical  # where the tails fall from 1 to 0
    breaks = np.clip([middle - width, middle, middle + width], first, last)
    ends = np.unique([first, *breaks, last])
    halves = np.diff(ends)[:, None] / 2
    spread = (ends[:-1, None] + halves) + halves * NODES  # [parts, nodes]
    tails = ndtr(shift - critical * spread) + ndtr(-shift - critical * spread)
    density = chi.pdf(spread * scale, freedom) * scale
    return float(min(1.0, (tails * density * halves * WEIGHTS).sum()))


def minimum_detectable_difference(sd_of_differences: float, n: int) -> float:
    """Smallest true difference that ``n`` paired seeds find with :data:`WANTED` power.

    In the units of the standard deviation. NaN for n < 2 and for a spread of 0 or unknown.
    """
    if n < 2 or not sd_of_differences > 0:
        return float("nan")

    def lacking(effect: float) -> float:
        return power(effect, 1.0, n) - WANTED

    if lacking(0.0) >= 0:
        return 0.0
    enough = 1.0
    while lacking(enough) < 0:
        enough *= 2
    return float(brentq(lacking, 0.0, enough)) * sd_of_differences


def seeds_needed(difference: float, sd_of_differences: float) -> int | None:
    """Smallest number of paired seeds that finds ``difference`` with :data:`WANTED` power.

    None beyond :data:`MOST_SEEDS`, and for a spread of 0 or unknown.
    """
    if not difference or not sd_of_differences > 0:
        return None
    low, high = 1, 2  # power grows with n: double, then halve
    while power(difference, sd_of_differences, high) < WANTED:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(difference, sd_of_differences, middle) < WANTED:
            low = middle
        else:
            high = middle
    return high if high <= MOST_SEEDS else None
