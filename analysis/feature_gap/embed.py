"""Teacher and students in one plane: the axes are the teacher's, the same for all methods.

Shapes: M images, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.feature_gap.features import Array, FeatureError


@dataclass(frozen=True)
class Plane:
    """An affine map to two dimensions."""

    mean: Array
    axes: Array
    """[D, 2]"""
    explained: Array
    """Share of the teacher's variance on each axis [2]."""

    def __call__(self, x: ArrayLike) -> Array:
        """Place x [M, D] in the plane [M, 2]."""
        found: Array = (np.asarray(x, dtype=np.float64) - self.mean) @ self.axes
        return found


def pca_plane(teacher: ArrayLike) -> Plane:
    """The two principal axes of teacher [M, D]; signs fixed (largest loading positive)."""
    x = np.asarray(teacher, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise FeatureError(f"a plane needs at least 2 images and 2 features, got {x.shape}")
    mean = x.mean(axis=0)
    _, scale, rows = np.linalg.svd(x - mean, full_matrices=False)
    axes = rows[:2].T
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    variance = scale**2
    return Plane(mean, axes, variance[:2] / variance.sum())


def tsne(groups: Mapping[str, ArrayLike], seed: int, perplexity: float = 30.0) -> dict[str, Array]:
    """One joint t-SNE of all groups [M_i, D], split again: distances compare across groups.

    scikit-learn's Barnes-Hut on the first 30 principal components, started from PCA.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    arrays = {name: np.asarray(x, dtype=np.float64) for name, x in groups.items()}
    joint = np.concatenate(list(arrays.values()))
    width = min(30, *joint.shape)
    reduced = PCA(width, random_state=seed).fit_transform(joint)
    limit = (len(joint) - 1) / 3
    placed = TSNE(perplexity=min(perplexity, limit), init="pca", random_state=seed).fit_transform(
        reduced
    )
    ends = np.cumsum([len(x) for x in arrays.values()])[:-1]
    parts = np.split(np.asarray(placed, dtype=np.float64), ends)
    return dict(zip(arrays, parts, strict=True))
