"""The signed-rank test counts all signs, ties and zeros included."""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.statistics.signed_ranks import MOST_EXACT, signed_rank_p


def by_all_signs(differences):
    """p from the 2^n signs, one by one."""
    values = np.array([it for it in differences if it != 0])
    ranks = scipy_stats.rankdata(np.abs(values))
    seen = abs(np.sign(values) @ ranks)
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values))))
    return np.mean(np.abs(signs @ ranks) >= seen - 1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 14])
def test_ties_and_zeros_are_counted_exactly(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        differences = rng.integers(-3, 5, size=n) / 10
        if np.any(differences):
            assert signed_rank_p(differences) == pytest.approx(by_all_signs(differences))


def test_fourteen_differences_with_ties_agree_with_scipys_permutation_test():
    """Where scipy's own wilcoxon is approximate."""
    differences = np.array([1, 1, 1, 1, 2, 2, 2, -1, 3, 3, -2, 0, 4, 4, 1]) / 10
    known = scipy_stats.permutation_test(
        (differences[differences != 0],),
        lambda it: (np.sign(it) * scipy_stats.rankdata(np.abs(it))).sum(),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert signed_rank_p(differences) == pytest.approx(known.pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [3, 13, 14, 40])
def test_without_ties_it_is_scipys_exact_test(n):
    differences = np.random.default_rng(n).normal(0.2, 1, size=n)
    known = scipy_stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(known)


def test_hundreds_of_differences_agree_with_the_normal_approximation():
    differences = np.random.default_rng(0).normal(0.1, 1, size=MOST_EXACT)
    exact, approximate = signed_rank_p(differences), signed_rank_p([*differences, 1e-9])
    assert exact == pytest.approx(approximate, rel=0.02)


def test_differences_of_zero_are_no_test():
    assert np.isnan(signed_rank_p([0.0, 0.0]))
    assert np.isnan(signed_rank_p([0.3]))
    assert signed_rank_p([0.3, 0.0]) == 1.0  # one sign: both are as far from the mean
