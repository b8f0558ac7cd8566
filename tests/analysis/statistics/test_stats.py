"""Statistics agree with scipy and with numbers one can check by hand; intervals cover."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.statistics import stats

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
    assert stats.present(stats.paired_differences(left, right)).tolist() == [2.0]


def test_runs_of_one_seed_that_rise_and_fall_together_are_correlated_within_their_pair():
    left = np.array([[70.0, 50.0], [72.0, 52.0], [71.0, 51.0]])
    assert stats.correlation_of_pairs(left, left + np.array([1.0, 5.0])) == pytest.approx(1.0)
    assert stats.correlation_of_pairs(left, -left) == pytest.approx(-1.0)
    # deviations -1, 1, 0 and 1, 1, -2 in both pairs: no product is left
    other = np.array([[1.0, 1.0], [1.0, 1.0], [-2.0, -2.0]])
    assert stats.correlation_of_pairs(left, other) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(stats.correlation_of_pairs(left, np.ones((3, 2))))


def test_the_interval_of_a_deviation_is_chi_squareds():
    # 2 degrees of freedom: chi2 quantiles 0.0506 and 7.378 (tables)
    low, high = stats.sd_interval(1.0, 3)
    assert low == pytest.approx(np.sqrt(2 / 7.378), rel=1e-3)
    assert high == pytest.approx(np.sqrt(2 / 0.0506), rel=1e-3)
    assert np.isnan(stats.sd_interval(0.0, 3).low)


@pytest.mark.parametrize("difference", [0.0, 0.1, 0.3, 5.8, 30.0])
def test_every_triple_in_tenths_with_a_constant_difference_is_seen_as_constant(difference):
    for tenths in range(300, 700, 7):
        reference = np.array([tenths, tenths + 7, tenths - 9]) / 10
        ours = np.round(reference + difference, 1)
        for scores in (ours, 100 * (ours / 100)):  # as a literal, and from a share
            differences = stats.paired_differences(scores, reference)
            assert len(set(differences.ravel())) == 1, (tenths, differences)
            assert stats.sd(differences) == 0
            assert (differences[0, 0] == 0) == (difference == 0)


def test_differences_of_one_image_in_ten_million_are_no_rounding():
    image = 100 / 1e7
    differences = stats.paired_differences([90.0, 90.0 + image, 90.0], [80.0, 80.0, 80.0 - image])
    assert differences.ravel() == pytest.approx([10, 10 + image, 10 + image], abs=1e-9)
    assert stats.sd(differences) == pytest.approx(image / np.sqrt(3), rel=1e-6)


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


def test_the_bootstrap_in_parts_draws_what_it_draws_at_once(monkeypatch):
    scores = np.random.default_rng(1).normal(size=(7, 3))
    intervals = set()
    for at_a_time in (10, 1000, 10**7):
        monkeypatch.setattr(stats, "AT_A_TIME", at_a_time)
        intervals.add(stats.bootstrap_interval(scores, np.random.default_rng(0)))
    assert len(intervals) == 1


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


def test_resamples_in_parts_are_those_taken_together(monkeypatch):
    points = np.array([70.5, 81.0])

    def found():
        profile = stats.performance_profile(SCORES, points, np.random.default_rng(3))
        interval = stats.bootstrap_interval(
            SCORES, np.random.default_rng(3), stats.interquartile_mean
        )
        return [*interval, *np.concatenate(profile)]

    together = found()
    monkeypatch.setattr(stats, "AT_A_TIME", 1)
    assert found() == together
    assert together[2:4] == pytest.approx([5 / 6, 1 / 6])  # 2 of 3 and all of 3; none and 1 of 3


def test_only_a_spread_that_stands_out_keeps_samples_from_sharing_their_error():
    alike, wild = [5.0, 6.0, 4.0], 3000.0
    assert stats.scatter_alike([*alike, 40.0], [5, 5, 5, 5])
    assert not stats.scatter_alike([*alike, wild], [5, 5, 5, 5])
    assert not stats.scatter_alike([wild, *alike], [5, 5, 5, 5])
    assert stats.scatter_alike([*alike, wild], [5, 5, 5, 0])  # one run says nothing
    assert stats.scatter_alike([0.0, 0.0, 9.0], [1, 1, 1])  # nor do samples without any spread
