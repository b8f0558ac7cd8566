"""The table of differences: what stands in it for one pair, several pairs and shared runs."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.statistics.stats import Interval
from analysis.tables.differences import differences, verdict
from analysis.tables.inputs import Inputs

SCORES = {"scratch": [80.0, 81.0, 82.5], "kd": [84.0, 85.0, 84.5], "dkd": [85.0, 88.0, 86.0]}


def table_of(store):
    return differences(Inputs(Grid(collect(store.root, store.write_manifest())), None))


def fill(store, label, scores, **more):
    for seed, score in enumerate(scores):
        store.finish(store.add(label, seed, **more), score, features=False)


def row(table, label, against):
    return next(
        [cell.text for cell in row.cells[2:]]
        for row in table.rows
        if [cell.text for cell in row.cells[:2]] == [label, against]
    )


def test_one_pair_has_tukeys_intervals_for_the_same_pairs_and_teachers(store):
    for label, scores in SCORES.items():
        fill(store, label, scores)
    table = table_of(store)
    expected = scipy_stats.tukey_hsd(SCORES["dkd"], SCORES["kd"], SCORES["scratch"])
    low, high = expected.confidence_interval().low[0, 1], expected.confidence_interval().high[0, 1]
    difference = np.mean(SCORES["dkd"]) - np.mean(SCORES["kd"])
    assert [it.header for it in table.columns[3:]] == ["same pairs, same teachers", "p", "verdict"]
    found = [text.replace("−", "-") for text in row(table, "dkd", "kd")]
    assert found == [
        f"{difference:+.2f}",
        f"[{low:+.2f}, {high:+.2f}]",
        f"{expected.pvalue[0, 1]:.3f}",
        "open",
    ]
    assert "9 runs over 1 pair and 1 teacher" in table.caption
    assert "One teacher a pair: another teacher may change every difference." in table.notes


def test_several_pairs_have_intervals_for_other_pairs_too(store):
    for pair, gain in (("a/s", 0.0), ("b/t", 1.0), ("c/u", -0.5)):
        for label, scores in SCORES.items():
            shift = gain if label == "dkd" else 0.0
            fill(store, label, np.array(scores) + shift, pair=pair)
    table = table_of(store)
    assert "other pairs of this kind" in [column.header for column in table.columns]
    # the pairs' mean differences of dkd and kd: 1.8333 + (0, 1, -0.5); two taught methods only
    gains = np.mean(SCORES["dkd"]) - np.mean(SCORES["kd"]) + np.array([0.0, 1.0, -0.5])
    q = scipy_stats.studentized_range.ppf(0.95, 3, 2) / np.sqrt(2)
    half = q * gains.std(ddof=1) / np.sqrt(3)
    expected = f"[{gains.mean() - half:+.2f}, {gains.mean() + half:+.2f}]"
    assert row(table, "dkd", "kd")[3].replace("−", "-") == expected


def test_scratch_runs_shared_by_two_pairs_count_once(store):
    for pair in ("a/s", "b/s"):
        for label, scores in SCORES.items():
            fill(store, label, scores, pair=pair)
    assert "15 runs over 2 pairs and 2 teachers" in table_of(store).caption


def test_a_method_that_one_pair_lacks_is_left_out_by_name(store):
    for pair in ("a/s", "b/t"):
        for label in ("scratch", "kd"):
            fill(store, label, SCORES[label], pair=pair)
    fill(store, "dkd", SCORES["dkd"], pair="a/s")
    table = table_of(store)
    assert {cells.cells[0].text for cells in table.rows} == {"kd"}
    assert "Not in every pair, so left out: dkd." in table.notes


@pytest.mark.parametrize("scores", [{"kd": [80.0, 81.0]}, {"scratch": [80.0], "kd": [81.0]}])
def test_without_two_methods_or_two_runs_there_is_no_table(store, scores):
    for label, values in scores.items():
        fill(store, label, values)
    assert table_of(store) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.49, 0.3, "equivalent within 0.5"),
        (0.1, 0.4, "equivalent within 0.5"),
        (-0.6, 0.1, "open"),
        (0.1, 0.9, "higher"),
        (-0.9, -0.1, "lower"),
        (np.nan, np.nan, "–"),
    ],
)
def test_equivalence_is_said_only_where_the_whole_interval_is_small(low, high, said):
    assert verdict(Interval(low, high)) == said


def test_two_teachers_of_one_architecture_are_crossed_with_the_seeds(store):
    for teacher_seed, gift in ((0, 0.0), (1, 3.0)):
        for label, scores in SCORES.items():
            if label == "scratch" and teacher_seed:
                continue
            for seed, score in enumerate(scores):
                own = None if label == "scratch" else teacher_seed
                entry = store.add(label, seed, teacher_seed=own)
                gain = gift if label == "kd" else gift + 0.5 * teacher_seed
                store.finish(entry, score + (gain if own is not None else 0), features=False)
    grid = Grid(collect(store.root, store.write_manifest()))
    assert set(grid.students["state"]) == {"finished"}  # no conflict
    assert [grid.cell(label, grid.columns[0]).n for label in SCORES] == [3, 6, 6]
    table = differences(Inputs(grid, None))
    headers = [column.header for column in table.columns]
    assert "same pairs, other teachers" in headers
    assert "15 runs over 1 pair and 2 teachers" in table.caption
    # dkd - kd is 2.0 - 0.17 beside one teacher and 0.5 more beside the other
    assert row(table, "dkd", "kd")[0] == "+2.08"
    assert any("teacher 0." in note for note in table.notes)
