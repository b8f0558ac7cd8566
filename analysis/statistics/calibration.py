"""Whether probabilities mean what they say, and on which images two methods differ.

Legend: N images, b bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.stats import Array

BINS = 15
"""Of equal width, as in Guo et al. 2017, Sec. 5."""


class Reliability(NamedTuple):
    """Confidence and accuracy by bins of confidence; bins without images are left out."""

    confidence: Array
    """[b] mean confidence, 0 to 1."""
    accuracy: Array
    """[b] share of right images, 0 to 1."""
    share: Array
    """[b] share of the images, sum 1."""


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = BINS) -> Reliability:
    """Images sorted into ``bins`` intervals (0, 1/bins], ... by their confidence.

    Args:
        confidence: [N] probability of the predicted class.
        right: [N] whether that is the label.
        bins: Number of intervals.
    """
    values = np.asarray(confidence, dtype=np.float64)
    place = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    there = count > 0
    sums = np.bincount(place, values, bins), np.bincount(place, np.asarray(right, float), bins)
    mean, accuracy = (total[there] / count[there] for total in sums)
    return Reliability(mean, accuracy, count[there] / len(values))


def expected_calibration_error(found: Reliability) -> float:
    """Mean distance of accuracy and confidence over the images, 0 to 1 (Naeini et al. 2015)."""
    return float(found.share @ np.abs(found.accuracy - found.confidence))


class Changed(NamedTuple):
    """Shares of images, 0 to 1, of a run of a method against a run of another."""

    gained: float
    """Right where the other is wrong."""
    lost: float
    """Wrong where the other is right."""


def changed(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> Changed:
    """Mean over all pairs of runs of two methods, [S, N] and [T, N]: whether each is right."""
    ours, theirs = right.mean(axis=0), other.mean(axis=0)
    return Changed(float((ours * (1 - theirs)).mean()), float((theirs * (1 - ours)).mean()))


def churn(right: NDArray[np.bool_]) -> float:
    """What :func:`changed` finds between two runs [S, N] of one method, both ways the same.

    NaN for a single run. This much changes with the seed alone.
    """
    runs = len(right)
    if runs < 2:
        return float("nan")
    share = right.mean(axis=0)
    return float((share * (1 - share)).mean()) * runs / (runs - 1)
