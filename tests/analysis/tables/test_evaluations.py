"""Tables and figure of runs on other images: means counted by hand, holes seen."""

import pytest

from analysis.plots.column import Column
from analysis.plots.robustness import caption, draw
from analysis.runs.collect import collect
from analysis.runs.evaluations import Evaluations
from analysis.runs.grid import Grid
from analysis.tables.evaluations import probe, robustness
from suite.store import evaluations
from suite.store.record import RunDirectory

TRAINING = {
    "data": "stl10", "image_size": 32, "epochs": 100, "batch_size": 64, "lr": 0.1, "decay": 0.1,
    "momentum": 0.9, "weight_decay": 0.0, "decay_after": [30, 60, 90],
}  # fmt: skip
CORRUPTIONS = {"corruptions": ["fog", "jpeg"]}


def fill(store):
    """Two seeds of each method, a teacher."""
    entries = {(label, seed): store.add(label, seed) for label in ("kd", "dkd") for seed in (0, 1)}
    teacher = store.add_teacher("net_teacher")
    for entry in (*entries.values(), teacher):
        store.finish(entry, 90.0, features=False)
    return entries, teacher


def grid_of(store):
    return Grid(collect(store.root, store.write_manifest()))


def texts(table):
    name = next(n for n, column in enumerate(table.columns) if column.header == "Method")
    return {row.cells[name].text: [it.text for it in row.cells[name + 1 :]] for row in table.rows}


def keep(store, entry, kind, protocol, figures):
    evaluations.save(RunDirectory(store.path(entry)), kind, protocol, figures, {})


def test_the_probe_table_has_means_over_seeds_holes_and_the_teacher(store):
    entries, teacher = fill(store)
    for place, score in (("kd", 0), 60.0), (("kd", 1), 62.0), (("dkd", 0), 70.0):
        keep(store, entries[place], "probe", TRAINING, {"top1_percent": score})
    keep(store, teacher, "probe", TRAINING, {"top1_percent": 75.5})
    table = probe(grid_of(store))
    assert [it.header for it in table.columns] == ["Method", "stl10"]
    assert texts(table) == {
        "teacher": ["75.50 (1)"],
        "kd": ["61.00 ± 1.41 (2)"],
        "dkd": ["70.00 (1/2 runs)"],
    }
    assert "learning rate 0.1 times 0.1 after epochs 30, 60, 90, momentum 0.9" in table.notes[0]


def test_two_protocols_of_one_data_set_are_two_columns(store):
    entries, _ = fill(store)
    keep(store, entries["kd", 0], "probe", TRAINING, {"top1_percent": 60.0})
    keep(store, entries["kd", 0], "probe", {**TRAINING, "lr": 1.0}, {"top1_percent": 50.0})
    table = probe(grid_of(store))
    assert [it.header[:7] for it in table.columns[1:]] == ["stl10 ("] * 2
    assert sorted(texts(table)["kd"]) == ["50.00 (1/2 runs)", "60.00 (1/2 runs)"]


def test_where_nothing_was_measured_there_is_no_table_and_no_figure(store):
    fill(store)
    grid = grid_of(store)
    assert not probe(grid).rows
    assert not robustness(grid).rows
    assert draw(Column(grid, None, grid.columns[0])) is None


@pytest.fixture
def corrupted(store):
    entries, _ = fill(store)
    for seed, (clean, fog, jpeg) in enumerate([(90.0, 60.0, 80.0), (92.0, 62.0, 82.0)]):
        figures = {
            "clean_top1_percent": clean,
            "top1_percent": (fog + jpeg) / 2,
            "corruptions": {"fog": {"1": fog + 5, "2": fog - 5}, "jpeg": {"1": jpeg, "2": jpeg}},
        }
        keep(store, entries["kd", seed], "robustness", CORRUPTIONS, figures)
    return grid_of(store)


def test_the_table_of_corruptions_has_accuracies_and_errors(corrupted):
    table = robustness(corrupted)
    headers = [it.header for it in table.columns]
    assert headers == ["Method", "clean", "corrupted", "mean corruption error", "fog", "jpeg"]
    rows = texts(table)
    assert rows["kd"] == ["91.00 ± 1.41 (2)", "71.00 ± 1.41 (2)", "29.00", "39.0", "19.0"]
    assert rows["dkd"][0] == "2 without this figure"
    assert rows["teacher"] == ["–"] * 5


def test_the_teacher_has_errors_too(store):
    entries, teacher = fill(store)
    figures = {
        "clean_top1_percent": 95.0,
        "top1_percent": 80.0,
        "corruptions": {"fog": {"1": 80.0, "2": 60.0}, "jpeg": {"1": 90.0, "2": 90.0}},
    }
    for place in (entries["kd", 0], teacher):
        keep(store, place, "robustness", CORRUPTIONS, figures)
    rows = texts(robustness(grid_of(store)))
    assert rows["teacher"] == ["95.00 (1)", "80.00 (1)", "20.00", "30.0", "10.0"]


def test_the_figure_has_the_accuracy_of_each_severity(corrupted):
    (column,) = corrupted.columns
    found = Evaluations.of(corrupted, "robustness")
    (protocol,) = found.protocols
    scores = found.by_severity("kd", column, protocol)
    assert scores.tolist() == [[90.0, 72.5, 67.5], [92.0, 74.5, 69.5]]
    assert found.by_severity("dkd", column, protocol).shape == (0, 3)
    shown = Column(corrupted, None, column)
    (axes,) = draw(shown).axes
    (line,) = axes.lines
    assert line.get_ydata().tolist() == [91.0, 73.5, 68.5]
    assert "mean over 2 corruptions (fog, jpeg)" in caption(shown)
