"""Calibration, gained images and what is said over pairs, with numbers counted by hand."""

import numpy as np
import pytest

from analysis.statistics import stats
from analysis.statistics.calibration import (
    changed,
    churn,
    expected_calibration_error,
    reliability,
)


def test_calibration_error_is_the_mean_distance_of_confidence_and_accuracy():
    # two bins of ten: 0.2 and 0.2 with one of two right, 0.9 and 0.9 with both right
    found = reliability([0.2, 0.2, 0.9, 0.9], [True, False, True, True], bins=10)
    assert found.confidence.tolist() == pytest.approx([0.2, 0.9])
    assert found.accuracy.tolist() == [0.5, 1.0]
    assert found.share.tolist() == [0.5, 0.5]
    assert expected_calibration_error(found) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)


def test_the_ends_of_the_scale_belong_to_the_outer_bins():
    found = reliability([0.0, 1.0], [False, True], bins=15)
    assert found.share.tolist() == [0.5, 0.5]
    assert expected_calibration_error(found) == 0.0


def test_gained_and_lost_images_and_the_churn_between_seeds():
    ours = np.array([[True, True, False, True], [True, False, False, True]])
    theirs = np.array([[True, False, True, False], [True, False, True, False]])
    # right in 1, 1/2, 0, 1 of our runs and in 1, 0, 1, 0 of theirs
    assert changed(ours, theirs) == pytest.approx(((0.5 + 1) / 4, 1 / 4))
    assert churn(theirs) == 0.0
    assert churn(ours) == pytest.approx(1 / 8)  # one of four images, one way in half of the cases
    assert np.isnan(churn(ours[:1]))


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert stats.interquartile_mean(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == 3.5


def test_a_performance_profile_is_the_share_above_each_point_mean_over_pairs():
    scores = np.array([[1.0, 3.0], [2.0, 4.0]])
    share, low, high = stats.performance_profile(
        scores, np.array([0.0, 1.5, 3.5, 5.0]), np.random.default_rng(0)
    )
    assert share.tolist() == [1.0, 0.75, 0.25, 0.0]
    assert (low <= share).all()
    assert (high >= share).all()
    assert low.tolist()[::3] == [1.0, 0.0]


def test_the_stratified_bootstrap_keeps_every_pair():
    # pairs 100 apart and no spread within: resampling within pairs never changes the mean
    scores = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])
    interval = stats.bootstrap_interval(scores, np.random.default_rng(0))
    assert interval == (50.0, 50.0)
