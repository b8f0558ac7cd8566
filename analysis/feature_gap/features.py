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
HALVINGS = 2
"""Times that :func:`corrected_frechet` splits the images."""


class FeatureError(UserError):
    """The arrays do not fit each other."""


def debiased_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear centred kernel alignment of x [M, D] and y [M, P] from the unbiased HSIC.

    HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)), each as Song et al. 2012 (JMLR 13, eq. 4) estimate
    it (Nguyen et al. 2021, arXiv 2010.15327). 1 = equal up to rotation and scale, about 0 (also
    slightly negative) for independent features of any width, no unit. NaN for constant features.
    """
    return cka_of(*(parts.mean() for parts in hsic_parts(x, y)))


def cka_of(cross: float, own_x: float, own_y: float) -> float:
    """From HSIC(x, y), HSIC(x, x) and HSIC(y, y)."""
    return float(cross / np.sqrt(own_x * own_y)) if own_x > 0 and own_y > 0 else float("nan")


def hsic_parts(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array]:
    """What each image adds to HSIC(x, y), HSIC(x, x) and HSIC(y, y), their means: three [M].

    Raises :class:`FeatureError` for fewer than 4 images.
    """
    a, b = _paired(x, y)
    if len(a) < 4:
        raise FeatureError(f"debiased CKA needs at least 4 images, got {len(a)}")
    left, right = _u_centred(a), _u_centred(b)
    sides = ((left, right), (left, left), (right, right))
    cross, own_x, own_y = (np.einsum("ij,ij->i", *pair) / (len(a) - 3) for pair in sides)
    return cross, own_x, own_y


def _u_centred(x: Array) -> Array:
    """Gram matrix of x [M, D] without its diagonal, all its rows summing to 0: [M, M]."""
    centred = x - x.mean(axis=0)
    gram: Array = centred @ centred.T
    own, images = np.diag(gram).copy(), len(x)
    gram += (own[:, None] + own) / (images - 2) - own.sum() / ((images - 1) * (images - 2))
    np.fill_diagonal(gram, 0.0)
    return gram


def median_bandwidth(reference: ArrayLike) -> float:
    """Median Euclidean distance between the rows of ``reference`` (the usual kernel width)."""
    a = _matrix(reference)
    distances = _squared_distances(a, a)[np.triu_indices(len(a), 1)]
    return float(np.sqrt(np.median(distances)))


def paired_mmd_parts(x: ArrayLike, y: ArrayLike, bandwidth: float) -> Array:
    """What each image adds to the squared maximum mean discrepancy of x and y [M, D]: [M].

    k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)); row i of both is the same image. The mean over the
    other images j of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i); the mean of the parts
    is the unbiased estimate, since k(x_i, y_i), whose sides are not independent, is left out
    (Gretton et al. 2012, the form with h, below eq. 3). About 0 (also slightly negative) for equal
    distributions, at most 2, no unit. Take the bandwidth from the teacher, the same for all that
    is compared.
    """
    a, b = _same_width(x, y)
    if len(a) != len(b):
        raise FeatureError(f"rows must correspond: {len(a)} and {len(b)} rows")
    if len(a) < 2:
        raise FeatureError(f"mmd needs at least 2 rows, got {len(a)}")
    kernel = _gaussian_kernel(bandwidth)
    across = kernel(a, b)
    terms = kernel(a, a) + kernel(b, b) - across - across.T  # [M, M]
    parts: Array = (terms.sum(axis=1) - np.diag(terms)) / (len(a) - 1)
    return parts


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
    squared feature units. Biased upwards by about D / M; see :func:`corrected_frechet`.
    """
    a, b = _same_width(x, y)
    shift = float(((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum())
    spread = total_variance(a) + total_variance(b)
    return max(0.0, shift + spread - 2 * _trace_of_root(a, b))


def _trace_of_root(a: Array, b: Array) -> float:
    """tr((S_a S_b)^(1/2)) of the covariances of a [M, D] and b [N, D]."""
    if min(len(a), len(b)) >= a.shape[1]:
        root = _square_root(_covariance(a))
        inner = np.linalg.eigvalsh(root @ _covariance(b) @ root)
        return float(np.sqrt(np.clip(inner, 0, None)).sum())
    # S = C^T C: the singular values of C_a C_b^T are the roots of the eigenvalues of S_a S_b
    left, right = ((rows - rows.mean(axis=0)) / np.sqrt(max(1, len(rows) - 1)) for rows in (a, b))
    return float(np.linalg.svd(left @ right.T, compute_uv=False).sum())


def corrected_frechet(x: ArrayLike, y: ArrayLike, rng: np.random.Generator) -> float:
    """:func:`frechet_distance` of x and y [M, D], rows of the same images, without its bias by 1/M.

    Two sizes, M and M / 2, and a straight line in 1 / M through both, read off at 1 / M = 0: twice
    the distance of all images minus the mean of that of halves (FID-infinity, Chong and Forsyth
    2020, arXiv 1911.07023, with two sizes). ``rng`` splits the images into halves. About 0 (also
    slightly negative) for equal distributions. What is left of the bias is of the order (D / M)^2.
    """
    a, b = _paired(x, y)
    halves = [
        frechet_distance(a[half], b[half])
        for _ in range(HALVINGS)
        for half in np.array_split(rng.permutation(len(a)), 2)
    ]
    return 2 * frechet_distance(a, b) - float(np.mean(halves))


def total_variance(x: ArrayLike) -> float:
    """Trace of the covariance of x [M, D]: the unit in which distances become comparable."""
    a = _matrix(x)
    return float(((a - a.mean(axis=0)) ** 2).sum() / max(1, len(a) - 1))


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
    rows, width = a.shape
    penalty = ridge * float((a**2).sum()) / width
    if penalty <= 0:  # constant features: nothing to map
        return LinearMap(np.zeros((width, b.shape[1])), a_mean, b_mean)
    if rows < width:  # the same weight, from the smaller system
        weight = a.T @ np.linalg.solve(a @ a.T + penalty * np.eye(rows), b)
    else:
        weight = np.linalg.solve(a.T @ a + penalty * np.eye(width), a.T @ b)
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
    degrees: Array = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees


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
