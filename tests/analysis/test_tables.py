"""Tables: no hole is averaged over, recipes do not mix, published figures stand beside ours."""

import json

import numpy as np
import pytest

from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.accuracy import accuracy
from analysis.tables.anchors import published_figures
from analysis.tables.comparisons import comparisons
from analysis.tables.cost import cost
from analysis.tables.forms.text import number, signed
from analysis.tables.holes import holes
from analysis.tables.selection import selection


def grid_of(store):
    return Grid(collect(store.root, store.write_manifest()))


def texts(table):
    return {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}


def marks(table, column=1):
    return {row.cells[0].text: row.cells[column].mark for row in table.rows}


def fill(store, label, scores, **more):
    for seed, score in enumerate(scores):
        store.finish(store.add(label, seed, **more), score, features=False)


def test_mean_deviation_and_number_of_runs(store):
    fill(store, "kd", [90.0, 91.0, 92.0])
    assert texts(accuracy(grid_of(store)))["kd"][0] == "91.00 ± 1.00 (3)"


def test_one_run_has_no_deviation(store):
    fill(store, "kd", [90.0])
    table = accuracy(grid_of(store))
    assert texts(table)["kd"][0] == "90.00 (1)"
    assert "1 seed: 0." in table.caption


def test_all_that_the_runs_cannot_tell_from_the_best_is_bold(store):
    # pooled variance 1 with 6 degrees of freedom; Tukey's half width of three means is 2.51
    fill(store, "scratch", [80.0, 81.0, 82.0])
    fill(store, "kd", [90.0, 91.0, 92.0])
    fill(store, "dkd", [88.6, 89.6, 90.6])
    table = accuracy(grid_of(store))
    assert marks(table) == {"teacher": "", "scratch": "", "kd": "best", "dkd": "best"}
    tied = {row.cells[0].text: row.cells[1].tied for row in table.rows}
    assert tied == {
        "teacher": None, "scratch": ["scratch"], "kd": ["kd", "dkd"], "dkd": ["kd", "dkd"],
    }  # fmt: skip
    assert "cannot tell from the best" in table.caption


def test_nothing_is_bold_where_nothing_says_how_far_seeds_scatter(store):
    fill(store, "scratch", [80.0])
    fill(store, "kd", [90.0])
    table = accuracy(grid_of(store))
    assert set(marks(table).values()) == {""}
    assert "Nothing is bold" in table.caption


def test_a_cell_with_a_failed_run_says_so_and_does_not_compete(store):
    fill(store, "kd", [90.0, 91.0])
    fill(store, "scratch", [80.0, 81.0])
    for seed, score in enumerate([95.0, None, 96.0]):
        entry = store.add("dkd", seed)
        if score is None:
            store.fail(entry)
        else:
            store.finish(entry, score, features=False)
    table = accuracy(grid_of(store))
    assert texts(table)["dkd"][0] == "95.50 ± 0.71 (2/3 runs)"
    assert marks(table)["dkd"] == "hole"
    assert marks(table)["kd"] == "best"
    assert any("1 of 7 runs have no result (1 failed)" in note for note in table.notes)


def test_a_cell_without_any_result_names_the_states(store):
    fill(store, "kd", [90.0])
    store.fail(store.add("dkd", 0))
    store.add("dkd", 1)
    assert texts(accuracy(grid_of(store)))["dkd"][0] == "1 failed, 1 missing"


def test_gains_have_the_intervals_of_the_model_of_all_runs(store):
    fill(store, "scratch", [80.0, 81.0, 82.0])
    fill(store, "kd", [90.0, 91.0, 92.0])
    fill(store, "dkd", [88.6, 89.6, 90.6])
    rows = texts(accuracy(grid_of(store)))
    assert rows["kd"][1:] == ["+10.00 [+7.49, +12.51]", "–"]
    assert rows["dkd"][2] == "−1.40 [−3.91, +1.11]"


def test_a_gain_over_a_pair_that_only_some_share_says_so(store):
    for pair, scores in (("a/s", [80.0, 81.0]), ("b/t", [70.0, 71.0])):
        fill(store, "scratch", scores, pair=pair)
        fill(store, "kd", [score + 2 for score in scores], pair=pair)
    fill(store, "dkd", [83.0, 84.0], pair="a/s")
    rows = texts(accuracy(grid_of(store)))
    assert rows["kd"][2].startswith("+2.00 [")
    assert rows["dkd"][2].startswith("+3.00 [")
    assert rows["dkd"][2].endswith("] (1/2 pairs)")


def test_equal_differences_have_no_detectable_one_and_too_few_runs_have_no_p(store):
    fill(store, "scratch", [42.1, 42.8, 41.2])
    fill(store, "kd", [47.9, 48.6, 47.0])
    (table,) = comparisons(grid_of(store))
    (row,) = table.rows
    texts_ = [cell.text for cell in row.cells]
    assert texts_[2:] == ["3", "1.00", "–", "1.00", "–", "–"]
    assert row.cells[4].numbers["raw"] == 0.25  # what three differences of one sign give at least


def test_six_runs_can_reach_five_percent(store):
    scores = [42.1, 42.8, 41.2, 42.0, 41.9, 42.4]
    fill(store, "scratch", scores)
    fill(store, "kd", [score + 5 + 0.1 * place for place, score in enumerate(scores)])
    (table,) = comparisons(grid_of(store))
    assert table.rows[0].cells[4].text == "0.031"  # 2 / 2^6


def test_equal_runs_beside_a_published_figure_have_no_interval(cifar):
    fill(cifar, "kd", [75.0, 75.0], **CIFAR)
    row = published_figures(grid_of(cifar)).rows[0]
    assert row.cells[4].text == "+0.08, no interval"


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [(-0.001, "0.00", "+0.00"), (0.0, "0.00", "+0.00"), (-0.01, "−0.01", "−0.01")],
)
def test_what_rounds_to_zero_has_no_minus(value, plain, with_sign):
    assert number(value, 2) == plain
    assert signed(value) == with_sign


def test_runs_of_two_recipes_get_two_columns(store):
    fill(store, "kd", [90.0, 91.0], recipe="short")
    fill(store, "kd", [70.0, 71.0], recipe="long")
    table = accuracy(grid_of(store))
    headers = [column.header for column in table.columns[1:3]]
    assert headers == ["teacher → student (short)", "teacher → student (long)"]
    assert texts(table)["kd"][:2] == ["90.50 ± 0.71 (2)", "70.50 ± 0.71 (2)"]


def test_stale_runs_are_marked(store):
    fill(store, "kd", [90.0, 91.0])
    store.finish(store.add("dkd", 0), 90.0, source="b" * 64)
    table = accuracy(grid_of(store))
    assert texts(table)["dkd"][0] == "90.00 (1)†"
    assert any(note.startswith("†") for note in table.notes)


def test_tuned_rows_are_marked_with_how_they_were_tuned(store):
    chosen = {"search": "digits_search", "trials": 40, "split": "val", "pair": "big/small"}
    fill(store, "kd", [90.0, 91.0], tuned=chosen)
    fill(store, "dkd", [90.0, 91.0])
    table = accuracy(grid_of(store))
    assert set(texts(table)) == {"teacher", "kd‡", "dkd"}
    note = "‡ kd: tuned by search digits_search, 40 trials, on the val split of big → small."
    assert note in table.notes
    assert any(
        note.startswith("Settings of the recipe; ") and "dkd" in note for note in table.notes
    )


def test_a_row_tuned_for_each_pair_names_every_search_and_what_was_not_tuned(store):
    other = {"pair": "teacher/tiny"}
    searches = [{"search": name, "trials": 8, "split": "val"} for name in ("near", "far")]
    for label in ("kd", "dkd"):
        fill(store, label, [90.0], tuned=searches[0], chosen_on="published")
    fill(store, "kd", [80.0], tuned=searches[1], **other)
    fill(store, "dkd", [80.0], chosen_on="published", **other)
    table = accuracy(grid_of(store))
    assert "‡ kd, dkd: tuned by search near, 8 trials, on the val split." in table.notes
    assert "‡ kd: tuned by search far, 8 trials, on the val split." in table.notes
    assert "Settings of the authors: dkd." in table.notes


def test_a_table_says_on_which_images_settings_were_chosen_by_hand(store):
    fill(store, "kd", [90.0], chosen_on="published")
    fill(store, "dkd", [90.0], chosen_on="test")
    fill(store, "dskd", [90.0])
    *_, tuned, test, authors, unknown = accuracy(grid_of(store)).notes
    assert tuned == "No method was tuned by a search."
    assert test.startswith("Settings chosen by hand on test images")
    assert test.endswith(": dkd.")
    assert authors == "Settings of the authors: kd."
    assert unknown.endswith("it does not say on which images they were chosen: dskd.")


def test_the_teacher_has_its_own_row(store):
    fill(store, "kd", [90.0])
    assert texts(accuracy(grid_of(store)))["teacher"][0] == "96.40 (1)"


def test_the_teachers_own_record_is_used_before_any_student_is_done(store):
    store.finish(store.add_teacher("net_teacher"), 97.5, features=False)
    store.add("kd", 0)
    assert texts(accuracy(grid_of(store)))["teacher"][0] == "97.50 (1)"


def test_every_pair_of_rows_is_compared_once(store):
    fill(store, "scratch", [80.0, 81.5, 82.0])
    fill(store, "kd", [90.0, 91.0, 92.5])
    fill(store, "dkd", [90.5, 91.0, 92.0])
    (table,) = comparisons(grid_of(store))
    pairs = [(row.cells[0].text, row.cells[1].text) for row in table.rows]
    assert pairs == [("kd", "scratch"), ("dkd", "scratch"), ("dkd", "kd")]


def test_without_a_reference_there_is_no_comparison(store):
    fill(store, "dkd", [90.0, 91.0])
    assert list(comparisons(grid_of(store))) == []


def test_selection_optimism_is_best_minus_last(store):
    fill(store, "kd", [90.0, 91.0])
    grid = grid_of(store)
    best = np.mean(grid.array("kd", "best_test/test/top1_percent"))
    row = selection(grid).rows[0]
    assert row.cells[3].text == f"{best:.2f}"
    assert row.cells[5].text == f"{best - 90.5:+.2f}".replace("-", "−")
    assert best >= 90.5


def test_cost_counts_what_training_and_deployment_add(store):
    store.finish(store.add("crd", 0), features=False)
    cells = [cell.text for cell in cost(grid_of(store)).rows[0].cells]
    assert cells[2:7] == ["1", "512 MiB", "12.35 k", "17.00 k", "0"]


def cost_of(store, **changes):
    """The only row of the cost table of two runs whose records say so; by header."""
    for seed, packed in enumerate(changes.pop("packed")):
        entry = store.add("kd", seed)
        record = store.finish(entry, 90.0, features=False) | changes | {"packed": packed}
        (store.path(entry) / "result.json").write_text(json.dumps(record))
    table = cost(grid_of(store))
    cells = [cell.text for cell in table.rows[0].cells]
    return dict(zip((it.header for it in table.columns), cells, strict=True)), table


@pytest.mark.parametrize(("packed", "shown"), [((1, 1), "1"), ((4, 4), "4"), ((2, 4), "2–4")])
def test_cost_says_how_many_runs_shared_the_time(store, packed, shown):
    cells, table = cost_of(store, packed=packed)
    assert cells["together"] == shown
    assert "do not compare methods" in table.notes[0]
    assert "accuracy per device-hour" not in cells  # half a minute


@pytest.mark.parametrize(("packed", "shown"), [((1, 1), "45.0"), ((1, 4), None)])
def test_accuracy_per_hour_is_of_long_runs_that_trained_alone(store, packed, shown):
    cells, _ = cost_of(store, packed=packed, train_seconds=7200.0)
    assert cells.get("accuracy per device-hour") == shown


def test_holes_list_every_run_without_result_and_its_reason(store):
    fill(store, "kd", [90.0])
    store.fail(store.add("dkd", 0), "loss is nan at step 3", "NotFiniteError")
    table = holes(collect(store.root, store.write_manifest()))
    assert [cell.text for cell in table.rows[0].cells][
        -1
    ] == "NotFiniteError: loss is nan at step 3"
    assert len(table.rows) == 1


CIFAR = {"pair": "wrn_40_2/wrn_16_2", "models": ("cifar_wrn_40_2", "cifar_wrn_16_2")}


@pytest.fixture
def cifar(store):
    store.dataset, store.epochs = "cifar100", 240
    return store


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ([74.8, 74.9, 75.0], "reproduced (−0.02 ± 0.25)"),  # 4.303 * 0.1 / sqrt(3)
        ([74.5, 74.9, 75.3], "open (−0.02 ± 0.99)"),
        ([76.0, 76.1, 76.2], "above (+1.18 ± 0.25)"),
        ([73.0, 73.1, 73.2], "below (−1.82 ± 0.25)"),
        ([75.0], "+0.08, no interval"),
    ],
)
def test_kd_on_wrn_40_2_wrn_16_2_is_judged_against_crds_74_92(cifar, scores, verdict):
    fill(cifar, "kd", scores, **CIFAR)
    row = published_figures(grid_of(cifar)).rows[0]
    cells = [cell.text for cell in row.cells]
    assert cells[1:3] == ["74.92", "last epoch"]
    assert cells[4] == verdict
    assert cells[5].startswith("RepDistiller README")


def test_a_short_training_is_not_compared_with_a_published_figure(cifar):
    cifar.epochs = 2
    fill(cifar, "kd", [74.8, 75.0], **CIFAR)
    row = published_figures(grid_of(cifar)).rows[0]
    assert row.cells[4].text == "not comparable: 2 of 240 epochs"


def test_a_figure_of_the_best_epoch_is_compared_with_our_best_epoch(cifar):
    fill(cifar, "dkd", [75.0, 75.2], **CIFAR)
    grid = grid_of(cifar)
    row = published_figures(grid).rows[0]
    best = np.mean(grid.array("dkd", "best_test/test/top1_percent"))
    assert row.cells[2].text == "best epoch"
    assert row.cells[3].text.startswith(f"{best:.2f}")


def test_figures_of_other_code_bases_are_shown_as_reported_and_enter_no_mean(cifar):
    fill(cifar, "kd", [74.0, 76.0], **CIFAR)
    before = texts(accuracy(grid_of(cifar)))
    (cifar.root / "reported.csv").write_text(
        "dataset,teacher,student,method,top1_percent,protocol,source,epochs,seeds,std_percent\n"
        "cifar100,wrn_40_2,wrn_16_2,kd,90.0,last,Their Table 2,240,3,0.2\n"
        "cifar100,wrn_40_2,wrn_16_2,theirs,77.25,,Their README,,,\n"
        "cifar100,wrn_40_2,resnet8,kd,1.0,last,Another pair,,,\n"
    )
    table = published_figures(grid_of(cifar))
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    *_, kd, theirs = rows
    assert kd[:3] == ["kd", "90.00", "last epoch"]
    assert kd[4:] == ["below (−15.00 ± 12.71)", "reported: Their Table 2"]
    assert theirs[:3] == ["theirs", "77.25", "not stated"]
    assert theirs[-2:] == ["no run", "reported: Their README"]
    assert not [row for row in rows if "Another pair" in row[-1]]
    assert texts(accuracy(grid_of(cifar))) == before


def test_digits_have_no_published_figures(finished):
    assert not published_figures(Grid(collect(finished.root, finished.manifest))).rows


def test_means_over_fewer_runs_than_expected_are_marked_in_every_table(store):
    fill(store, "kd", [90.0, 91.0])
    store.fail(store.add("kd", 2))
    grid = grid_of(store)
    for table in (cost(grid), selection(grid)):
        assert table.rows[0].cells[0].mark == "hole"
        assert table.rows[0].cells[0].text == "kd (2/3 runs)"


def test_an_unknown_spread_needs_an_unknown_number_of_seeds(store):
    fill(store, "scratch", [80.0])
    fill(store, "kd", [90.0])
    (table,) = comparisons(grid_of(store))
    assert table.rows[0].cells[-1].text == "–"


def test_a_grid_of_one_column_says_of_it_what_the_whole_says(store):
    for seed in range(2):
        for pair in ("teacher/student", "teacher/other"):
            store.finish(store.add("kd", seed, pair))
    whole = grid_of(store)
    key = whole.columns[1]
    part = whole.only(key)
    assert part.cell("kd", key).scores.tolist() == whole.cell("kd", key).scores.tolist()
    assert part.networks(key) == whole.networks(key)
    assert part.column_names() == whole.column_names()
    assert set(part.students["pair"]) == {"teacher/other"}
    assert part.cell("kd", whole.columns[0]).expected == 0
