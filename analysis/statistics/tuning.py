"""What a search would have found with fewer trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from analysis.statistics.stats import Array, present


def expected_best(values: ArrayLike, trials: ArrayLike) -> Array:
    """Expected best validation figure of so many random trials (Dodge et al. 2019, Eq. 2 to 5).

    The trials are drawn with replacement from those that were run, so that of as many as were run
    the best is expected to lie below the best that was seen.

    Args:
        values: [N] the figure of every trial, higher is better.
        trials: [T] numbers of trials, from 1.

    Returns:
        [T]; NaN without any value.
    """
    counts = np.asarray(trials, dtype=np.float64)
    ordered = np.sort(present(values))
    if not len(ordered):
        return np.full(counts.shape, np.nan)
    below = np.arange(len(ordered) + 1) / len(ordered)  # share of the trials up to each
    chance = np.diff(below[:, None] ** counts, axis=0)  # [N, T] that the best is this one
    return np.asarray(ordered @ chance)
