"""Intervals of medians: ranks counted by hand, and how often they hold."""

import math

import numpy as np
import pytest

from analysis.statistics.medians import median_interval


def test_the_interval_of_nine_repeats_is_from_the_second_to_the_eighth():
    """P(X <= 1) of Binomial(9, 1/2) is 10 / 512, twice that 3.9 %; with X <= 2 it would be 18 %."""
    assert median_interval([9, 1, 8, 2, 7, 3, 6, 4, 5]) == (2, 8)


def test_six_repeats_are_the_fewest_and_a_missing_one_does_not_count():
    """2 / 2^6 = 3.1 %, 2 / 2^5 = 6.3 %."""
    assert median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert all(map(math.isnan, median_interval([3, 1, 2, 6, 5, math.nan])))
    assert median_interval([1, 2, 3, 4, 5], level=0.9) == (1, 5)


@pytest.mark.parametrize("repeats", [6, 9, 20])
def test_it_holds_the_median_at_least_as_often_as_said_whatever_the_distribution(repeats):
    """Log-normal times, as those of a busy machine, with median 1."""
    rng = np.random.default_rng(3)
    times = np.exp(rng.standard_normal((2000, repeats)))
    held = [low <= 1 <= high for low, high in map(median_interval, times)]
    assert np.mean(held) > 0.94
