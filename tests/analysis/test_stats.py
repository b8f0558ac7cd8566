"""Statistics agree with scipy and with numbers one can check by hand; intervals cover."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis import stats

SCORES = np.array([[70.0, 80.0], [71.0, 82.0], [72.0, 81.0]])


def test_mean_and_deviation_leave_missing_runs_out():
    assert stats.mean([1.0, np.nan, 3.0]) == 2.0
    assert stats.sd([1.0, np.nan, 3.0]) == pytest.approx(np.sqrt(2))


def test_one_run_has_no_deviation_and_no_interval():
    assert np.isnan(stats.sd([5.0]))
    assert np.isnan(stats.t_interval([5.0]).low)
    assert not stats.t_interval([5.0]).contains(5.0)


def test_t_interval_of_one_two_three_is_2_plus_minus_2_484():
    low, high = stats.t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)  # 4.3027 / sqrt(3)


def test_t_interval_agrees_with_scipy():
    values = np.array([91.2, 90.7, 92.4, 91.9, 90.9])
    want = scipy_stats.t.interval(0.9, 4, values.mean(), scipy_stats.sem(values))
    assert tuple(stats.t_interval(values, 0.9)) == pytest.approx(want)


def test_95_percent_t_intervals_of_3_seeds_cover_the_mean_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = [stats.t_interval(rng.normal(90, 0.4, size=3)).contains(90.0) for _ in range(4000)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_bootstrap_intervals_of_20_seeds_cover_nearly_as_often():
    rng = np.random.default_rng(1)
    covered = [
        stats.bootstrap_interval(rng.normal(90, 0.4, (20, 2)), rng, resamples=500).contains(90)
        for _ in range(600)
    ]
    assert 0.90 <= np.mean(covered) <= 0.97


def test_bootstrap_is_repeated_by_its_generator():
    first = stats.bootstrap_interval(SCORES, np.random.default_rng(3))
    assert first == stats.bootstrap_interval(SCORES, np.random.default_rng(3))
    assert first.low < SCORES.mean() < first.high


def test_bootstrap_of_a_pair_with_one_run_is_undefined():
    scores = np.array([[1.0, 2.0], [1.5, np.nan]])
    assert np.isnan(stats.bootstrap_interval(scores, np.random.default_rng(0)).low)


def test_paired_differences_ignore_a_run_without_partner():
    left, right = np.array([[3.0], [5.0]]), np.array([[1.0], [np.nan]])
    assert stats.paired_differences(left, right)[0, 0] == 2.0
    assert stats.paired_test(left, right).n == 1


def test_paired_test_agrees_with_scipy():
    rng = np.random.default_rng(2)
    left, right = rng.normal(91, 1, (6, 2)), rng.normal(90, 1, (6, 2))
    found = stats.paired_test(left, right)
    assert found.p_t == pytest.approx(scipy_stats.ttest_rel(left.ravel(), right.ravel()).pvalue)
    want = scipy_stats.wilcoxon(left.ravel(), right.ravel()).pvalue
    assert found.p_wilcoxon == pytest.approx(want)
    assert found.mean == pytest.approx((left - right).mean())


def test_wilcoxon_on_three_seeds_cannot_go_below_a_quarter():
    assert stats.paired_test([2.0, 3.1, 4.2], [1.0, 1.0, 1.0]).p_wilcoxon == pytest.approx(0.25)


def test_equal_scores_give_no_p_value():
    found = stats.paired_test([1.0, 2.0], [1.0, 2.0])
    assert found.mean == 0
    assert np.isnan(found.p_t)
    assert np.isnan(found.p_wilcoxon)


def test_holm_of_three_known_p_values():
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_leaves_missing_tests_out_of_the_family():
    found = stats.holm([0.02, np.nan, 0.03])
    assert found[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(found[1])


def test_holm_keeps_the_family_error_below_5_percent():
    rng = np.random.default_rng(4)
    rejected = [(stats.holm(rng.uniform(size=8)) < 0.05).any() for _ in range(4000)]
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.012)


def test_probability_of_improvement_counts_ties_half():
    assert stats.probability_of_improvement([2.0, 3.0], [1.0, 2.0]) == pytest.approx(0.875)
    assert stats.probability_of_improvement([1.0], [1.0]) == 0.5


def test_probability_of_improvement_is_the_mean_over_pairs():
    ours, theirs = np.array([[2.0, 0.0]]), np.array([[1.0, 1.0]])
    assert stats.probability_of_improvement(ours, theirs) == 0.5


def test_average_ranks_share_ties_and_skip_blocks_with_holes():
    scores = [[3.0, 2.0, 1.0], [3.0, 1.0, 1.0], [np.nan, 9.0, 1.0]]
    ranks = stats.average_ranks(scores)
    assert ranks.average == pytest.approx([1.0, 2.25, 2.75])
    assert ranks.blocks == 2


def test_critical_difference_agrees_with_demsars_table():
    rng = np.random.default_rng(5)
    ranks = stats.average_ranks(rng.normal(size=(30, 5)))  # q_0.05 = 2.728 for 5 classifiers
    assert ranks.critical_difference == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 30)), abs=1e-3)


def test_power_agrees_with_simulation():
    rng = np.random.default_rng(6)
    draws = rng.normal(0.5, 0.4, size=(4000, 5))
    found = (scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert stats.power(0.5, 0.4, 5) == pytest.approx(found, abs=0.025)


def test_the_minimum_detectable_difference_has_80_percent_power():
    difference = stats.minimum_detectable_difference(0.4, 5)
    assert stats.power(difference, 0.4, 5) == pytest.approx(0.8, abs=1e-6)
    assert np.isnan(stats.minimum_detectable_difference(0.4, 1))
    assert stats.minimum_detectable_difference(0.0, 3) == 0.0


def test_seeds_needed_is_the_first_number_with_enough_power():
    n = stats.seeds_needed(0.3, 0.4)
    assert n is not None
    assert stats.power(0.3, 0.4, n) >= 0.8 > stats.power(0.3, 0.4, n - 1)
    assert n == 16  # one-sample t test, effect size 0.75
    assert stats.seeds_needed(0.001, 1.0) is None
    assert stats.seeds_needed(0.3, 0.0) == 2


def test_seeds_needed_finds_the_same_number_as_counting_up():
    for spread in (0.1, 0.2, 0.35, 0.9):
        counted = next(n for n in range(2, 200) if stats.power(0.3, spread, n) >= 0.8)
        assert stats.seeds_needed(0.3, spread) == counted


def test_rank_correlation_of_a_monotone_curve_is_one():
    rho, p = stats.rank_correlation([1, 2, 3, 4], [1, 8, 27, 64])
    assert rho == pytest.approx(1.0)
    assert p == pytest.approx(2 / 24)  # of the 24 orders, one rises and one falls throughout
    assert np.isnan(stats.rank_correlation([1, 2], [1, 2])[0])


def test_the_p_of_a_rank_correlation_counts_all_orders_of_few_points():
    """Of the 6 orders of 3 points, 6 are at least as far from 0 as rho = 0.5; ties are shared."""
    assert stats.rank_correlation([1, 2, 3], [1, 3, 2]) == pytest.approx((0.5, 1.0))
    x, y = [1, 2, 2, 4, 5], [2, 1, 3, 5, 5]
    rho, p = stats.rank_correlation(x, y)
    known = scipy_stats.permutation_test(
        (x,),
        lambda order: scipy_stats.spearmanr(order, y).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
    )
    assert (rho, p) == pytest.approx((known.statistic, known.pvalue))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(stats.StatisticsError, match="must be equal"):
        stats.paired_differences(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(stats.StatisticsError, match="shape"):
        stats.bootstrap_interval(np.zeros((2, 2, 2)), np.random.default_rng(0))
