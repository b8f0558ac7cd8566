"""Distances between the feature distributions of teacher and student: pure functions of arrays.

Paired metrics compare two descriptions of the same images (rows correspond); distribution metrics
ignore which row is which. Features of different width meet in a common space through
:func:`fit_linear_map`, fitted on training images and applied to held-out ones.

Shapes: M images, D features, P features of the other network, K classes, H hash bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from suite.interface.errors import UserError

Array = NDArray[np.float64]


class FeatureError(UserError):
    """The arrays do not fit each other."""


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear centred kernel alignment of x [M, D] and y [M, P]; 1 = equal up to rotation and scale.

    ||Y'X||_F^2 / (||X'X||_F ||Y'Y||_F) of centred features (Kornblith et al. 2019, eq. 3), in
    [0, 1], no unit. Invariant to orthogonal maps and isotropic scale, not to every linear map; of
    independent features it is about D P / M / (effective ranks), not 0. NaN for constant features.
    """
    a, b = _paired(x, y)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    if len(a) < min(a.shape[1], b.shape[1]):  # the same figure from M x M Gram matrices
        left, right = a @ a.T, b @ b.T
        cross = float((left * right).sum())
        scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    else:
        cross = float((np.linalg.norm(b.T @ a)) ** 2)
        scale = float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return cross / scale if scale > 0 else float("nan")


def median_bandwidth(reference: ArrayLike) -> float:
    """Median Euclidean distance between the rows of ``reference`` (the usual kernel width)."""
    a = _matrix(reference)
    distances = _squared_distances(a, a)[np.triu_indices(len(a), 1)]
    return float(np.sqrt(np.median(distances)))


def mmd(x: ArrayLike, y: ArrayLike, bandwidth: float, *, paired: bool = False) -> float:
    """Unbiased squared maximum mean discrepancy with k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)).

    x [M, D], y [N, D]: mean k(x, x') + mean k(y, y') over different rows - 2 mean k(x, y) (Gretton
    et al. 2012, eq. 3). About 0 (also slightly negative) for equal distributions, at most 2, no
    unit. The bandwidth must be the same for all that is compared: take it from the teacher.
    ``paired``: row i of both is the same image, see :func:`paired_mmd_parts`.
    """
    if paired:
        return float(paired_mmd_parts(x, y, bandwidth).mean())
    a, b = _same_width(x, y)
    if len(a) < 2 or len(b) < 2:
        raise FeatureError(f"mmd needs at least 2 rows, got {len(a)} and {len(b)}")
    kernel = _gaussian_kernel(bandwidth)
    inside_a = (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))
    inside_b = (kernel(b, b).sum() - len(b)) / (len(b) * (len(b) - 1))
    return float(inside_a + inside_b - 2 * kernel(a, b).mean())


def paired_mmd_parts(x: ArrayLike, y: ArrayLike, bandwidth: float) -> Array:
    """What each image adds to the :func:`mmd` of pairs (row i of both is the same image): [M].

    Mean over the other images j of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i); the mean
    of the parts is unbiased, since k(x_i, y_i), whose sides are not independent, is left out
    (Gretton et al. 2012, the form with h, below eq. 3).
    """
    a, b = _same_width(x, y)
    if len(a) != len(b):
        raise FeatureError(f"rows must correspond: {len(a)} and {len(b)} rows")
    if len(a) < 2:
        raise FeatureError(f"mmd needs at least 2 rows, got {len(a)}")
    kernel = _gaussian_kernel(bandwidth)
    across = kernel(a, b)
    terms = kernel(a, a) + kernel(b, b) - across - across.T  # [M, M]
    found: Array = (terms.sum(axis=1) - np.diag(terms)) / (len(a) - 1)
    return found


def _gaussian_kernel(bandwidth: float) -> Callable[[Array, Array], Array]:
    if not bandwidth > 0:
        raise FeatureError(f"bandwidth is {bandwidth!r}, must be above 0")

    def kernel(left: Array, right: Array) -> Array:
        distances = _squared_distances(left, right)
        distances /= -2 * bandwidth**2
        return np.exp(distances, out=distances)

    return kernel


def frechet_distance(x: ArrayLike, y: ArrayLike) -> float:
    """Squared Fréchet (2-Wasserstein) distance between Gaussians fitted to x [M, D] and y [N, D].

    |mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) (Dowson and Landau 1982), at least 0, in
    squared feature units. Biased upwards when M is not much larger than D: compare equal M only.
    """
    a, b = _same_width(x, y)
    left, right = _covariance(a), _covariance(b)
    root = _square_root(left)
    inner = np.linalg.eigvalsh(root @ right @ root)
    cross = np.sqrt(np.clip(inner, 0, None)).sum()
    shift = float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())
    return max(0.0, shift + float(np.trace(left) + np.trace(right) - 2 * cross))


def total_variance(x: ArrayLike) -> float:
    """Trace of the covariance of x [M, D]: the unit in which distances become comparable."""
    return float(np.trace(_covariance(_matrix(x))))


@dataclass(frozen=True)
class LinearMap:
    """y = (x - input_mean) @ weight + output_mean."""

    weight: Array
    """[D, P]"""
    input_mean: Array
    """[D]"""
    output_mean: Array
    """[P]"""

    def __call__(self, x: ArrayLike) -> Array:
        """Map x [M, D] to [M, P]."""
        return (_matrix(x) - self.input_mean) @ self.weight + self.output_mean


def fit_linear_map(x: ArrayLike, y: ArrayLike, ridge: float = 1e-3) -> LinearMap:
    """Least-squares map from x [M, D] to y [M, P], fitted on training images.

    ``ridge`` is relative to the mean variance of x: it keeps the map defined when M < D.
    """
    a, b = _paired(x, y)
    a_mean, b_mean = a.mean(axis=0), b.mean(axis=0)
    a, b = a - a_mean, b - b_mean
    gram = a.T @ a
    penalty = ridge * np.trace(gram) / len(gram)
    if penalty <= 0:  # constant features: nothing to map
        return LinearMap(np.zeros((a.shape[1], b.shape[1])), a_mean, b_mean)
    weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), a.T @ b)
    return LinearMap(weight, a_mean, b_mean)


def unexplained_variance(predicted: ArrayLike, target: ArrayLike) -> float:
    """Residual of a prediction of target [M, P]: 1 - R^2 over all features together.

    sum |target - predicted|^2 / sum |target - mean|^2: 0 = the student's features determine the
    teacher's linearly, 1 = no better than the mean; above 1 on held-out images is possible.
    """
    a, b = _same_width(predicted, target)
    if len(a) != len(b):
        raise FeatureError(f"rows must correspond: {len(a)} and {len(b)} rows")
    spread = float(((b - b.mean(axis=0)) ** 2).sum())
    return float(((b - a) ** 2).sum()) / spread if spread > 0 else float("nan")


def sliced_wasserstein(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, directions: int = 256
) -> float:
    """Mean 1-Wasserstein distance over random directions between x [M, D] and y [M, D].

    Each projection on a unit vector is compared by its sorted values (Bonneel et al. 2015); at
    least 0, in feature units. Needs equally many rows.
    """
    a, b = _same_width(x, y)
    if len(a) != len(b):
        raise FeatureError(f"sliced_wasserstein needs equally many rows: {len(a)} and {len(b)}")
    axes = rng.standard_normal((a.shape[1], directions))
    axes /= np.linalg.norm(axes, axis=0)
    return float(np.abs(np.sort(a @ axes, axis=0) - np.sort(b @ axes, axis=0)).mean())


def angles(x: ArrayLike, y: ArrayLike) -> Array:
    """Angle in degrees between corresponding rows of x and y [M, D]: [M], 0 to 180; NaN for 0."""
    a, b = _same_width(x, y)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (a * b).sum(axis=1) / norms
    found: Array = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return found


def norms(x: ArrayLike) -> Array:
    """Euclidean norm of each row of x [M, D]: [M], feature units."""
    found: Array = np.linalg.norm(_matrix(x), axis=1)
    return found


def hash_agreement(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, bits: int = 2048) -> float:
    """Share of equal bits of random-hyperplane codes of corresponding rows of x and y [M, D].

    Codes are 1[(f - mean) w > 0] with Gaussian w; each side is centred by its own mean. In [0, 1];
    0.5 for unrelated rows; in expectation 1 - angle / 180 degrees (Charikar 2002).
    """
    a, b = _same_width(x, y)
    planes = rng.standard_normal((a.shape[1], bits))
    left = (a - a.mean(axis=0)) @ planes > 0
    right = (b - b.mean(axis=0)) @ planes > 0
    return float((left == right).mean())


def class_means(x: ArrayLike, label: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    """Mean feature of each class that occurs [K, D], and which classes these are [K]."""
    features, labels = _matrix(x), np.asarray(label)
    order = np.argsort(labels, kind="stable")
    classes, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    means: Array = np.add.reduceat(features[order], starts, axis=0) / counts[:, None]
    return means, classes.astype(np.int64)


def class_gap(x: ArrayLike, y: ArrayLike, label: ArrayLike) -> Array:
    """Distance of the class means of x and y [M, D] over the mean spread within classes of y: [K].

    |mean_k(x) - mean_k(y)| / sqrt(mean over classes of E|y - mean_k(y)|^2); 0 = same place, 1 = as
    far off as an image typically is from the centre of its class. At least 0, no unit.
    """
    (ours, _), (theirs, classes) = class_means(x, label), class_means(y, label)
    features, place = _matrix(y), np.searchsorted(classes, np.asarray(label))
    spread = ((features - theirs[place]) ** 2).sum(axis=1)
    within = np.bincount(place, spread) / np.bincount(place)  # [K]
    found: Array = np.linalg.norm(ours - theirs, axis=1) / np.sqrt(within.mean())
    return found


def class_geometry(x: ArrayLike, y: ArrayLike, label: ArrayLike) -> float:
    """Correlation of the distances between class means in x [M, D] and in y [M, P], in [-1, 1].

    Pearson's r over the K (K - 1) / 2 pairs of classes (representational similarity, Kriegeskorte
    2008): 1 = the same classes are near and far; widths may differ. NaN below 3 classes.
    """
    ours, theirs = (class_means(side, label)[0] for side in (x, y))
    upper = np.triu_indices(len(ours), 1)
    a = np.sqrt(_squared_distances(ours, ours)[upper])
    b = np.sqrt(_squared_distances(theirs, theirs)[upper])
    if len(ours) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def effective_rank(x: ArrayLike) -> float:
    """exp(entropy of the normalised eigenvalues of the covariance of x [M, D]), 1 to min(M, D).

    Roy and Vetterli 2007. Collapsed features have a small one.
    """
    values = np.clip(np.linalg.eigvalsh(_covariance(_matrix(x))), 0, None)
    if values.sum() <= 0:
        return float("nan")
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _matrix(x: ArrayLike) -> Array:
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or not len(array):
        raise FeatureError(f"features must be [images, width], got shape {array.shape}")
    return array


def _paired(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    a, b = _matrix(x), _matrix(y)
    if len(a) != len(b):
        raise FeatureError(f"rows must correspond: {len(a)} and {len(b)} rows")
    return a, b


def _same_width(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    a, b = _matrix(x), _matrix(y)
    if a.shape[1] != b.shape[1]:
        raise FeatureError(f"widths must be equal: {a.shape[1]} and {b.shape[1]}")
    return a, b


def _squared_distances(a: Array, b: Array) -> Array:
    found: Array = a @ b.T  # in place from here: fresh memory costs more than the sums
    found *= -2
    found += (a**2).sum(axis=1)[:, None]
    found += (b**2).sum(axis=1)
    return np.maximum(found, 0, out=found)


def _covariance(a: Array) -> Array:
    centred = a - a.mean(axis=0)
    found: Array = centred.T @ centred / max(1, len(a) - 1)
    return found


def _square_root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    found: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return found
