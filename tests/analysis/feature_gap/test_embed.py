"""Planes and joint embeddings."""

import numpy as np
import pytest

from analysis.feature_gap.embed import pca_plane, tsne
from analysis.feature_gap.features import FeatureError


def test_the_plane_finds_the_two_widest_directions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)) * [1.0, 5.0, 0.5, 3.0] + 7
    plane = pca_plane(x)
    assert np.abs(plane.axes[1, 0]) == pytest.approx(1.0, abs=0.02)
    assert np.abs(plane.axes[3, 1]) == pytest.approx(1.0, abs=0.02)
    assert plane.explained[0] == pytest.approx(25 / 35.25, abs=0.05)
    assert plane(x).mean(axis=0) == pytest.approx([0, 0], abs=1e-9)


def test_the_sign_of_the_axes_does_not_depend_on_the_images():
    x = np.random.default_rng(1).normal(size=(50, 3))
    assert pca_plane(x).axes == pytest.approx(pca_plane(x[::-1]).axes)


def test_one_image_makes_no_plane():
    with pytest.raises(FeatureError, match="at least 2"):
        pca_plane(np.ones((1, 3)))


def test_tsne_keeps_groups_and_separates_clusters():
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) + 20
    placed = tsne({"teacher": near, "student": far}, seed=0)
    assert placed["teacher"].shape == (40, 2)
    assert placed["student"].shape == (30, 2)
    spread = np.linalg.norm(placed["teacher"] - placed["teacher"].mean(0), axis=1).mean()
    apart = np.linalg.norm(placed["teacher"].mean(0) - placed["student"].mean(0))
    assert apart > spread
