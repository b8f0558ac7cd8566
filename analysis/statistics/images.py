"""What the choice of test images adds to chance.

A run is right or wrong on every image of a test set. Other images of the same kind would give other
accuracies, and methods are tested on the same ones: seeds and images are crossed. The difference of
two methods then has the variance

    variance over seeds + variance over images / images - (run x image) / images,

where the second holds what is common to the runs of a method, and the third is in both of the
others (expected mean squares of a crossed design; Cornfield and Tukey 1956).

Legend: g groups of runs that differ by their seed alone, N images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.statistics.design import Array


@dataclass(frozen=True)
class ImageScores:
    """The runs on one test set."""

    groups: NDArray[np.int64]
    """[g] numbers of the groups in the design."""
    runs: NDArray[np.int64]
    """[g] how many runs of each were read."""
    right: Array
    """[g, N] share of these runs that are right, percent."""

    @property
    def images(self) -> int:
        """N"""
        return int(self.right.shape[1])

    def variance_of(self, contrast: Array) -> float:
        """What the choice of images adds to the variance of a difference, points^2.

        Args:
            contrast: Weight of the mean of every group of the design.
        """
        weights = contrast[self.groups]
        over_images = float((weights @ self.right).var(ddof=1))
        noise = float((weights**2 / self.runs) @ self._noise())
        return max(0.0, over_images - noise) / self.images

    def _noise(self) -> Array:
        """[g] variance of run x image, points^2: of 0 and 100 with these shares, mean over images.

        The share p of k runs has p (1 - p) k / (k - 1) as unbiased estimate of the variance of a
        run; single runs get the mean of the others.
        """
        several = self.runs > 1
        share = self.right / 100
        found = 1e4 * (share * (1 - share)).mean(axis=1)
        found[several] *= self.runs[several] / (self.runs[several] - 1)
        found[~several] = found[several].mean() if several.any() else 0.0
        return np.asarray(found)
