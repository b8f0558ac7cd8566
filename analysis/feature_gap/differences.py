"""Differences of a metric of the gap between two methods, paired by seed and by image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.feature_gap import image_noise
from analysis.feature_gap.features import Array
from analysis.feature_gap.gap import IMAGES, INFLUENCE, influence_of
from analysis.statistics import stats


class Difference(NamedTuple):
    """A mean difference and half the widths of its 95 % intervals; NaN where there is none."""

    mean: float
    half_over_runs: float
    half_over_images: float


def between(runs: pd.DataFrame, reference: pd.DataFrame, metric: str) -> Difference:
    """``runs`` minus ``reference``: rows of one view and place of two methods.

    Over runs: Student's interval of the differences of runs with the same seed; where no seed is
    shared, the difference of the means without one. Over images: the runs' mean influence of each
    image, subtracted image by image, so that what moves both methods cancels.
    """
    shared = runs.merge(reference, on="seed", suffixes=("", "/reference"))
    if shared.empty:
        mean = stats.mean(runs[metric]) - stats.mean(reference[metric])
        return Difference(mean, float("nan"), _over_images(runs, reference, metric))
    apart = (shared[metric] - shared[f"{metric}/reference"]).to_numpy(float)
    low, high = stats.t_interval(apart)
    return Difference(stats.mean(apart), (high - low) / 2, _over_images(runs, reference, metric))


def _over_images(runs: pd.DataFrame, reference: pd.DataFrame, metric: str) -> float:
    images = pd.concat([runs[IMAGES], reference[IMAGES]])
    if f"{metric}{INFLUENCE}" not in runs or images.isna().any() or images.nunique() > 1:
        return float("nan")
    ours, theirs = (_mean_influence(rows, metric) for rows in (runs, reference))
    return stats.NORMAL_95 * image_noise.deviation(ours - theirs)


def _mean_influence(rows: pd.DataFrame, metric: str) -> Array:
    packed = rows[f"{metric}{INFLUENCE}"].dropna()
    if packed.empty:
        return np.full(1, np.nan)
    mean: Array = np.mean([influence_of(text) for text in packed], axis=0)
    return mean
