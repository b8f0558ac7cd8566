"""The closed form of the deviation over images agrees with a bootstrap that draws images."""

import numpy as np
import pytest

from analysis.feature_gap import features, image_noise

M, D = 300, 5


@pytest.fixture(scope="module")
def sides():
    """A teacher with skewed features and a student that is a noisy, shrunk and shifted copy."""
    rng = np.random.default_rng(3)
    teacher = np.maximum(rng.normal(size=(M, D)) @ rng.normal(size=(D, D)) + 0.3, 0)
    return 0.8 * teacher + 0.5 * rng.normal(size=(M, D)) + 0.2, teacher


def drawn(figure, sides, draws=600):
    """Standard deviation of ``figure`` over bootstrap draws of the images."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(draws):
        chosen = rng.integers(M, size=M)
        values.append(figure(*(side[chosen] for side in sides)))
    return np.std(values)


def test_cka(sides):
    """Draws that repeat no image: half the images each, whose deviation is that of all of them."""
    rng = np.random.default_rng(0)
    halves = [rng.permutation(M)[: M // 2] for _ in range(400)]
    values = [features.debiased_cka(*(side[half] for side in sides)) for half in halves]
    deviation = image_noise.deviation(image_noise.cka_influence(*features.hsic_parts(*sides)))
    assert deviation == pytest.approx(np.std(values), rel=0.15)


def test_unexplained_variance(sides):
    found = image_noise.deviation(image_noise.unexplained_influence(*sides))
    assert found == pytest.approx(drawn(features.unexplained_variance, sides), rel=0.12)


def test_relative_frechet_distance(sides):
    def relative(x, y):
        return features.frechet_distance(x, y) / features.total_variance(y)

    distance = features.frechet_distance(*sides)
    found = image_noise.deviation(image_noise.relative_frechet_influence(*sides, distance))
    assert found == pytest.approx(drawn(relative, sides), rel=0.12)


def test_frechet_of_features_that_fill_no_space_is_finite(sides):
    flat = [np.hstack([side, np.zeros((M, 2))]) for side in sides]
    whole = image_noise.relative_frechet_influence(*flat, features.frechet_distance(*flat))
    thin = image_noise.relative_frechet_influence(*sides, features.frechet_distance(*sides))
    assert whole == pytest.approx(thin)


def test_mmd_over_new_images_not_drawn_ones():
    """Draws repeat images, whose kernel with themselves is 1: new images are drawn instead."""
    rng = np.random.default_rng(0)
    values, deviations = [], []
    for _ in range(200):
        y = rng.normal(size=(100, 2))
        x = y + 0.7 + 0.3 * rng.normal(size=(100, 2))
        parts = features.paired_mmd_parts(x, y, 1.0)
        values.append(parts.mean())
        deviations.append(image_noise.deviation(image_noise.mmd_influence(parts)))
    assert np.mean(deviations) == pytest.approx(np.std(values), rel=0.15)


def test_influences_have_mean_zero(sides):
    distance = features.frechet_distance(*sides)
    for influence in (
        image_noise.cka_influence(*features.hsic_parts(*sides)),
        image_noise.unexplained_influence(*sides),
        image_noise.relative_frechet_influence(*sides, distance),
        image_noise.mmd_influence(features.paired_mmd_parts(*sides, 1.0)),
    ):
        assert influence.shape == (M,)
        assert abs(influence.mean()) < 1e-9


def test_frechet_of_features_wider_than_images_is_that_of_any_turned_axes():
    """40 images in 90 dimensions of which 6 are used: as in the six, by the way for few images."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 0.5
    turned = np.linalg.qr(rng.normal(size=(90, 90)))[0][:6]
    thin = image_noise.relative_frechet_influence(x, y, features.frechet_distance(x, y))
    distance = features.frechet_distance(x @ turned, y @ turned)
    wide = image_noise.relative_frechet_influence(x @ turned, y @ turned, distance)
    assert distance == pytest.approx(features.frechet_distance(x, y))
    assert wide == pytest.approx(thin)
