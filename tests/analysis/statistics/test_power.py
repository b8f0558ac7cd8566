"""Power agrees with simulation, with scipy's other implementations and with tables."""

import numpy as np
import pytest
from scipy import integrate, special
from scipy import stats as scipy_stats

from analysis.statistics import power


def test_power_agrees_with_simulation():
    rng = np.random.default_rng(6)
    draws = rng.normal(0.5, 0.4, size=(4000, 5))
    found = (scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert power.power(0.5, 0.4, 5) == pytest.approx(found, abs=0.025)


def test_the_minimum_detectable_difference_has_80_percent_power():
    difference = power.minimum_detectable_difference(0.4, 5)
    assert power.power(difference, 0.4, 5) == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(power.minimum_detectable_difference(0.4, 1))
    assert np.isnan(power.minimum_detectable_difference(0.0, 3))  # no spread, no statement


def test_seeds_needed_is_the_first_number_with_enough_power():
    n = power.seeds_needed(0.3, 0.4)
    assert n is not None
    assert power.power(0.3, 0.4, n) >= 0.8 > power.power(0.3, 0.4, n - 1)
    assert n == 16  # one-sample t test, effect size 0.75
    assert power.seeds_needed(0.001, 1.0) is None
    assert power.seeds_needed(0.3, 0.0) is None  # no spread, no statement
    assert power.seeds_needed(0.3, np.nan) is None


def test_seeds_needed_finds_the_same_number_as_counting_up():
    for spread in (0.1, 0.2, 0.35, 0.9):
        counted = next(n for n in range(2, 200) if power.power(0.3, spread, n) >= 0.8)
        assert power.seeds_needed(0.3, spread) == counted


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8, 10, 15, 20, 30])
@pytest.mark.parametrize("effect", [0.0, 0.3, 1.0, 5.47, 11.55, 100.0])
def test_power_agrees_with_the_noncentral_t_distribution(n, effect):
    """Cdflib's series of the noncentral t (scipy.special), and an integral over the variance."""
    critical, shift = scipy_stats.t.ppf(0.975, n - 1), effect * np.sqrt(n)
    upper = 1 - special.nctdtr(n - 1, shift, critical)
    lower = special.nctdtr(n - 1, -shift, critical)  # P(T < -c) is 1 - P(T' < c), T' of -shift
    assert power.power(effect, 1.0, n) == pytest.approx(upper + 1 - lower, abs=1e-9)

    def found(share):
        spread = critical * np.sqrt(scipy_stats.chi2.ppf(share, n - 1) / (n - 1))
        return special.ndtr(shift - spread) + special.ndtr(-shift - spread)

    integral = integrate.quad(found, 0, 1, limit=400, points=[0.001, 0.01, 0.1, 0.5])[0]
    assert power.power(effect, 1.0, n) == pytest.approx(integral, abs=1e-5)


@pytest.mark.parametrize(
    ("n", "deviations"), [(2, 11.5499), (3, 3.2640), (5, 1.6820), (10, 0.9960), (30, 0.5292)]
)
def test_the_detectable_difference_in_standard_deviations(n, deviations):
    assert power.minimum_detectable_difference(1.0, n) == pytest.approx(deviations, abs=1e-4)
    assert power.minimum_detectable_difference(0.4, n) == pytest.approx(0.4 * deviations, abs=1e-4)


def test_the_detectable_difference_of_two_seeds_agrees_with_simulation():
    draws = np.random.default_rng(7).normal(11.55, 1.0, size=(20_000, 2))
    found = (scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.01)


def test_a_spread_of_zero_has_no_power_to_speak_of():
    assert np.isnan(power.power(0.3, 0.0, 5))
    assert np.isnan(power.power(0.3, 1.0, 1))
