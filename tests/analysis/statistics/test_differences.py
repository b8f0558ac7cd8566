import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from simulated_runs import World, simulate

from analysis.statistics.design import Design, DesignError
from analysis.statistics.differences import Scope, compare, seed_error


def design(cells, *, untaught=()):
    """``{(method, pair, teacher): scores}``; every score is a run of its own."""
    rows = [
        (method, method not in untaught, pair, teacher, f"{method}{pair}{teacher}{n}", score)
        for (method, pair, teacher), scores in cells.items()
        for n, score in enumerate(scores)
    ]
    columns = ["method", "taught", "pair", "teacher", "run", "score"]
    return Design(pd.DataFrame(rows, columns=columns))


ONE_PAIR = {"kd": [70.0, 72.0, 71.0], "crd": [73.0, 74.0, 75.0], "dkd": [74.0, 76.0, 75.0]}
THREE = design({(name, "p", "t"): scores for name, scores in ONE_PAIR.items()})


def test_the_error_of_one_pair_is_pooled_over_all_methods():
    # squared deviations 2 + 2 + 2 over 9 - 3 degrees of freedom: variance 1
    assert seed_error(THREE).value == pytest.approx(1.0)
    assert seed_error(THREE).degrees == 6
    found = compare(THREE)
    assert found.difference[1, 0] == pytest.approx(3.0)
    assert found.standard_error[1, 0] == pytest.approx(np.sqrt(2 / 3))


def test_simultaneous_intervals_of_one_pair_are_tukeys():
    expected = scipy_stats.tukey_hsd(*ONE_PAIR.values())
    found, low = compare(THREE), expected.confidence_interval().low
    off = ~np.eye(3, dtype=bool)
    assert found.p()[off] == pytest.approx(expected.pvalue[off])
    assert (found.difference - found.half_width())[off] == pytest.approx(low[off])


def test_two_methods_over_pairs_in_general_are_the_paired_t_test_of_the_pairs_means():
    cells = {
        ("kd", "p", "t"): [70.0, 71.0],
        ("kd", "q", "t"): [60.0, 62.0],
        ("kd", "r", "t"): [80.0, 80.0],
        ("crd", "p", "t"): [71.0, 74.0],
        ("crd", "q", "t"): [61.0, 61.5],
        ("crd", "r", "t"): [82.0, 81.0],
    }
    found = compare(design(cells), Scope.PAIRS)
    expected = scipy_stats.ttest_rel([72.5, 61.25, 81.5], [70.5, 61.0, 80.0])
    assert found.p(simultaneous=False)[1, 0] == pytest.approx(expected.pvalue)
    assert found.degrees[1, 0] == 2


def test_two_methods_over_teachers_in_general_are_the_paired_t_test_of_the_teachers_means():
    cells = {
        ("kd", "p", "a"): [70.0, 71.0],
        ("kd", "p", "b"): [68.0, 69.0],
        ("crd", "p", "a"): [71.0, 73.0],
        ("crd", "p", "b"): [69.0, 69.5],
    }
    found = compare(design(cells), Scope.TEACHERS)
    expected = scipy_stats.ttest_rel([72.0, 69.25], [70.5, 68.5])
    assert found.p(simultaneous=False)[1, 0] == pytest.approx(expected.pvalue)


def test_what_a_teacher_gives_to_all_its_students_is_error_only_against_an_untaught_method():
    cells = {("scratch", "p", teacher): [65.0, 66.0] for teacher in "ab"}
    for teacher, gift, more in (("a", 0.0, 0.0), ("b", 4.0, 0.2)):
        cells[("kd", "p", teacher)] = [70.0 + gift, 71.0 + gift]
        cells[("crd", "p", teacher)] = [71.0 + gift + more, 72.5 + gift + more]
    found = compare(design(cells, untaught=("scratch",)), Scope.TEACHERS)
    # the differences of crd and kd over the teachers are 0.2 apart: sd of the mean of two is 0.1
    assert found.standard_error[2, 1] == pytest.approx(0.1)
    # against scratch the two teachers' means differ by 4: sd of the mean of two is 2
    assert found.standard_error[1, 0] == pytest.approx(2.0)


def test_a_run_that_stands_in_two_pairs_is_one_observation():
    alone = pd.DataFrame(
        [
            ("scratch", False, pair, "t", f"s{n}", score)
            for pair in "pq"
            for n, score in enumerate([1.0, 3.0])
        ]
        + [
            ("kd", True, pair, "t", f"{pair}{n}", score)
            for pair in "pq"
            for n, score in enumerate([2.0, 4.0])
        ],
        columns=["method", "taught", "pair", "teacher", "run", "score"],
    )
    found = compare(Design(alone))
    # 3 cells of 2 runs, squared deviations 2 each, 3 degrees of freedom: variance 2
    assert seed_error(Design(alone)).degrees == 3
    # scratch: 2 runs with weight 1/2, kd: 4 with 1/4
    assert found.standard_error[1, 0] == pytest.approx(np.sqrt(2 * (2 / 4 + 4 / 16)))


@pytest.mark.parametrize("scope", [Scope.TEACHERS, Scope.PAIRS])
def test_one_teacher_or_pair_says_nothing_of_others(scope):
    found = compare(THREE, scope)
    assert np.isnan(found.standard_error[1, 0])
    assert np.isnan(found.half_width()[1, 0])
    assert np.isnan(found.p()[1, 0])


def test_single_runs_have_no_seed_error():
    found = compare(design({("kd", "p", "t"): [1.0], ("crd", "p", "t"): [2.0]}))
    assert np.isnan(found.half_width()[1, 0])
    assert found.difference[1, 0] == pytest.approx(1.0)


def test_differences_that_are_equal_everywhere_say_nothing_of_chance():
    cells = {("kd", pair, "t"): [70.0, 71.0] for pair in "pq"}
    cells |= {("crd", pair, "t"): [70.3, 71.3] for pair in "pq"}
    found = compare(design(cells), Scope.PAIRS)
    assert np.isnan(found.half_width()[1, 0])
    assert np.isnan(found.p()[1, 0])


def test_tied_with_the_best_are_those_that_the_runs_cannot_tell_from_it():
    # 95 % Tukey for 3 means and 6 degrees of freedom: 4.339 / sqrt(2) * sqrt(2 / 3) = 2.51 points
    found = compare(THREE)
    assert found.methods[found.best()] == "dkd"
    assert found.told_apart()[found.best()].tolist() == [True, False, False]


def test_methods_that_lack_a_unit_are_left_out_by_complete():
    rows = simulate(np.random.default_rng(0), World(), methods=3, pairs=2)
    partial = rows[~((rows["method"] == "m2") & (rows["pair"] == "p1"))]
    assert Design.complete(partial).methods == ["m0", "m1"]
    with pytest.raises(DesignError, match="beside some teacher"):
        Design(partial)


def test_missing_values_are_refused():
    rows = simulate(np.random.default_rng(0), World()).astype({"score": float})
    rows.loc[0, "score"] = np.nan
    with pytest.raises(DesignError, match="missing values"):
        Design(rows)


COLLAPSED = {
    "kd": [94.0, 95.0, 93.5, 94.5, 96.0, 93.0],
    "crd": [92.0, 93.0, 91.5, 92.5, 94.0, 91.0],
    "shuffled": [5.0, 40.0, 12.0, 55.0, 8.0, 30.0],
}


def test_a_collapsed_method_does_not_widen_the_intervals_of_the_others():
    """Tamhane's T2: Welch's error of the two methods, Sidak's correction for three differences."""
    found = compare(design({(name, "p", "t"): scores for name, scores in COLLAPSED.items()}))
    assert not found.pooled
    assert found.procedure.startswith("Tamhane")
    welch = scipy_stats.ttest_ind(COLLAPSED["crd"], COLLAPSED["kd"], equal_var=False)
    assert found.difference[1, 0] / found.standard_error[1, 0] == pytest.approx(welch.statistic)
    assert found.degrees[1, 0] == pytest.approx(welch.df)
    assert found.p(simultaneous=False)[1, 0] == pytest.approx(welch.pvalue)
    assert found.p()[1, 0] == pytest.approx(1 - (1 - welch.pvalue) ** 3)
    critical = scipy_stats.t.ppf((1 + 0.95 ** (1 / 3)) / 2, 10.0)
    assert found.half_width()[1, 0] == pytest.approx(critical * found.standard_error[1, 0])
    alone = compare(design({(it, "p", "t"): COLLAPSED[it] for it in ("kd", "crd")}))
    assert found.half_width()[1, 0] < 1.5 * alone.half_width()[1, 0]  # pooled, it is 13 times


def test_methods_that_scatter_alike_share_their_error_whatever_their_means():
    assert compare(THREE).pooled
    cells = {("kd", "p", "t"): [70.0, 71.0], ("crd", "p", "t"): [20.0, 22.0]}
    assert compare(design(cells | {("dkd", "p", "t"): [50.0, 50.0]})).pooled
