"""Wilcoxon's signed-rank test, exact with ties and zeros."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MOST_EXACT = 500
"""Differences up to which all signs are counted (0.1 s); beyond, the normal approximation."""


def smallest_p(differences: ArrayLike) -> float:
    """What :func:`signed_rank_p` of so many differences is when all have one sign: 2 / 2^n."""
    values = np.asarray(differences, dtype=np.float64)
    return float(2.0 ** (1 - np.count_nonzero(values[~np.isnan(values)])))


def signed_rank_p(differences: ArrayLike) -> float:
    """Two-sided p of the differences; NaN where fewer than two are there or all are 0.

    Zeros are left out, equal sizes share their mean rank (Wilcoxon 1945; Pratt 1959 discusses
    zeros). Under the null hypothesis each rank has either sign with probability 1/2, so p is the
    share of the 2^n signs whose rank sum is at least as far from its mean.
    """
    values = np.asarray(differences, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    if len(values) < 2 or not np.any(values):
        return float("nan")
    values = values[values != 0]
    if len(values) > MOST_EXACT:
        return float(stats.wilcoxon(values).pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(values))).astype(int)  # mean ranks are halves
    chances = np.zeros(doubled.sum() + 1)  # of every doubled sum of the positive ranks
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] += chances[:-rank].copy()
        chances /= 2
        # chances[s] = (chance of s without this rank + chance of s - rank) / 2
    seen = int(doubled[values > 0].sum())
    lower = min(seen, len(chances) - 1 - seen)  # the distribution is symmetric
    return float(min(1.0, 2 * chances[: lower + 1].sum()))
