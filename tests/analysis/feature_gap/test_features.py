"""Gap metrics on cases with known answers."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.feature_gap import features

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 6))


def rotation(width, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def test_cka_is_one_after_rotation_scaling_and_shift():
    assert features.debiased_cka(X, 3 * X @ rotation(6) + 5) == pytest.approx(1.0)


def test_hsic_of_four_points_by_hand():
    """K = L = ((0, 1, -1, -1), ...) without its diagonal: tr KK = 12, 1'K1 = -4, 1'KK1 = 4."""
    x = [[1.0], [1], [-1], [-1]]
    cross, own, _ = features.hsic_parts(x, x)
    by_hand = (12 + 16 / (3 * 2) - 2 * 4 / 2) / (4 * 1)
    assert cross.mean() == own.mean() == pytest.approx(by_hand)


def test_hsic_agrees_with_the_formula_of_song_for_any_features():
    y = np.random.default_rng(2).normal(size=(200, 3)) + 5
    m, kernels = 200, [side @ side.T for side in (X + 7, y)]
    for kernel in kernels:
        np.fill_diagonal(kernel, 0.0)
    first, second = kernels
    sums = first.sum() * second.sum() / ((m - 1) * (m - 2)) - 2 / (m - 2) * (
        first.sum(0) @ second.sum(0)
    )
    want = ((first * second).sum() + sums) / (m * (m - 3))
    assert features.hsic_parts(X + 7, y)[0].mean() == pytest.approx(want, rel=1e-6)


def test_cka_of_independent_features_is_zero_on_average_however_wide_they_are():
    rng = np.random.default_rng(3)
    values = [
        features.debiased_cka(rng.normal(size=(60, 100)), rng.normal(size=(60, 100)))
        for _ in range(100)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 10
    assert min(values) < 0  # the plain estimate is 0.63 here


def test_cka_of_constant_features_is_undefined():
    assert np.isnan(features.debiased_cka(np.ones((4, 2)), X[:4]))


def mean_mmd(x, y, bandwidth):
    return features.paired_mmd_parts(x, y, bandwidth).mean()


def test_mmd_of_two_images_by_hand():
    # k = exp(-d^2 / 2): within 1 apart twice, across 11 or 9 apart: about 0
    value = mean_mmd([[0.0], [1.0]], [[10.0], [11.0]], bandwidth=1.0)
    assert value == pytest.approx(2 * np.exp(-0.5), abs=1e-12)


def test_mmd_of_noisy_copies_is_zero_on_average():
    rng = np.random.default_rng(5)
    values = []
    for _ in range(300):
        base = rng.normal(size=(30, 3))
        x, y = (base + 0.2 * rng.normal(size=base.shape) for _ in range(2))
        values.append(mean_mmd(x, y, 1.5))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_mmd_grows_with_the_shift():
    values = [mean_mmd(X, X + shift, 2.0) for shift in (0.1, 0.5, 2.0)]
    assert values == sorted(values)


def test_median_bandwidth_of_three_points_on_a_line_is_the_middle_distance():
    assert features.median_bandwidth([[0.0], [1.0], [3.0]]) == 2.0


def test_frechet_of_one_dimensional_gaussians_is_by_hand():
    x = np.array([[-1.0], [1.0]]) * np.sqrt(0.5)  # mean 0, variance 1
    y = 3 * x + 2  # mean 2, variance 9: (0 - 2)^2 + (1 - 3)^2
    assert features.frechet_distance(x, y) == pytest.approx(8.0)


def test_frechet_agrees_with_the_matrix_square_root():
    from scipy.linalg import sqrtm

    y = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)) + 1
    a, b = np.cov(X.T), np.cov(y.T)
    want = ((X.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert features.frechet_distance(X, y) == pytest.approx(want, rel=1e-8)


def test_frechet_of_fewer_images_than_features_is_the_same_by_the_smaller_matrix():
    few, others = RNG.normal(size=(15, 40)), RNG.normal(size=(12, 40)) + 0.2
    left, right = np.cov(few.T), np.cov(others.T)
    root = features._square_root(left)
    inner = np.linalg.eigvalsh(root @ right @ root).clip(0)
    spread = np.trace(left) + np.trace(right) - 2 * np.sqrt(inner).sum()
    want = ((few.mean(0) - others.mean(0)) ** 2).sum() + spread
    assert features.frechet_distance(few, others) == pytest.approx(want, rel=1e-6)


def test_the_linear_map_of_fewer_images_than_features_solves_the_same_equations():
    few, target = RNG.normal(size=(15, 40)) + 2, RNG.normal(size=(15, 3))
    centred = few - few.mean(axis=0)
    gram = centred.T @ centred
    penalty = 1e-3 * np.trace(gram) / 40
    want = np.linalg.solve(gram + penalty * np.eye(40), centred.T @ (target - target.mean(axis=0)))
    assert features.fit_linear_map(few, target).weight == pytest.approx(want)


def test_frechet_to_itself_is_zero_also_with_fewer_images_than_features():
    few = RNG.normal(size=(5, 20))
    assert features.frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)


def test_the_corrected_frechet_distance_has_no_bias_where_the_plain_one_doubles_the_truth():
    """Two Gaussians in 20 dimensions whose means are 1 apart: the distance is 1."""
    rng = np.random.default_rng(4)
    shift = np.eye(20)[0]
    pairs = [(rng.normal(size=(200, 20)), rng.normal(size=(200, 20)) + shift) for _ in range(60)]
    plain = [features.frechet_distance(x, y) for x, y in pairs]
    corrected = [features.corrected_frechet(x, y, rng) for x, y in pairs]
    assert np.mean(plain) > 1.8
    assert np.mean(corrected) == pytest.approx(1.0, abs=0.1)


def test_the_linear_map_recovers_an_affine_relation_on_new_images():
    weight = RNG.normal(size=(6, 4))
    fitted = features.fit_linear_map(X[:100], X[:100] @ weight + 3, ridge=1e-9)
    predicted = fitted(X[100:])
    assert predicted == pytest.approx(X[100:] @ weight + 3, abs=1e-6)
    assert features.unexplained_variance(predicted, X[100:] @ weight + 3) < 1e-12


def test_predicting_the_mean_leaves_all_variance_unexplained():
    target = RNG.normal(size=(50, 3))
    mean = np.broadcast_to(target.mean(axis=0), target.shape)
    assert features.unexplained_variance(mean, target) == pytest.approx(1.0)


def test_constant_features_map_to_the_mean():
    fitted = features.fit_linear_map(np.ones((10, 3)), X[:10])
    assert fitted(np.ones((2, 3)))[0] == pytest.approx(X[:10].mean(axis=0))


def test_sliced_wasserstein_of_a_shift_in_one_dimension_is_the_shift():
    assert features.sliced_wasserstein(X[:, :1], X[:, :1] + 2, np.random.default_rng(0)) == (
        pytest.approx(2.0)
    )


def test_sliced_wasserstein_in_one_dimension_agrees_with_scipy():
    a, b = RNG.normal(size=50), RNG.gamma(2, size=50)
    want = scipy_stats.wasserstein_distance(a, b)
    found = features.sliced_wasserstein(a[:, None], b[:, None], np.random.default_rng(0))
    assert found == pytest.approx(want)


def test_angles_between_axes_are_0_90_and_180_degrees():
    found = features.angles([[1.0, 0], [1, 0], [1, 0]], [[2.0, 0], [0, 3], [-1, 0]])
    assert found == pytest.approx([0, 90, 180])


def test_hash_agreement_is_one_minus_angle_over_180():
    turned = np.array([[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]])  # 57.3 degrees
    x = np.concatenate([X[:, :2], -X[:, :2]])  # centred
    found = features.hash_agreement(x, x @ turned, np.random.default_rng(0), bits=20_000)
    assert found == pytest.approx(1 - np.degrees(1) / 180, abs=0.005)
    assert features.hash_agreement(x, x, np.random.default_rng(0)) == 1.0


def test_class_gap_of_a_shift_by_the_spread_is_one():
    y = np.array([[-1.0], [1.0], [9.0], [11.0]])  # spread within classes 1
    assert features.class_gap(y + 1, y, [0, 0, 1, 1]) == pytest.approx([1.0, 1.0])


def test_class_geometry_sees_scale_and_rotation_as_equal_and_exchange_as_different():
    label = np.repeat([0, 1, 2], 2)
    y = np.repeat([[0.0, 0], [1, 0], [5, 0]], 2, axis=0)
    assert features.class_geometry(2 * y @ rotation(2), y, label) == pytest.approx(1.0)
    swapped = np.repeat([[1.0, 0], [5, 0], [0, 0]], 2, axis=0)
    assert features.class_geometry(swapped, y, label) < 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: features.debiased_cka(X, X[:10]),
        lambda: features.debiased_cka(X[:3], X[:3]),
        lambda: features.paired_mmd_parts(X, X[:, :2], 1.0),
        lambda: features.paired_mmd_parts(X, X, 0.0),
        lambda: features.paired_mmd_parts(X[:1], X[:1], 1.0),
        lambda: features.total_variance([1.0, 2.0]),
        lambda: features.sliced_wasserstein(X, X[:5], np.random.default_rng(0)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call):
    with pytest.raises(features.FeatureError, match=r"must|needs"):
        call()
