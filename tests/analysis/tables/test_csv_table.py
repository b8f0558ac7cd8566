"""Tables as CSV hold numbers that a program can go on with."""

import io
import math

import pandas as pd

from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.accuracy import accuracy as accuracy_of
from analysis.tables.cost import cost as cost_of
from analysis.tables.differences import differences
from analysis.tables.forms.csv_table import to_csv
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.inputs import Inputs
from analysis.tables.sensitivity import sensitivity


def read(table):
    return pd.read_csv(io.StringIO(to_csv(table)))


def test_a_cell_of_several_numbers_becomes_several_columns():
    numbers = {"mean": 74.921234, "sd": 0.28, "n": 3}
    rows = [
        Row([Cell("kd"), Cell("74.92 ± 0.28 (3)", numbers=numbers)]),
        Row([Cell("crd"), Cell("2 failed", "hole")]),
        Row([Cell("at"), Cell("–")]),
    ]
    frame = read(Table("t", "T", [Column("Method"), Column("a → b")], rows))
    assert list(frame) == ["Method", "a → b mean", "a → b sd", "a → b n", "a → b note"]
    assert frame["a → b mean"][0] == 74.921234
    assert frame["a → b mean"].isna().tolist() == [False, True, True]
    assert frame["a → b note"].tolist()[1] == "2 failed"


def test_numbers_that_are_shown_with_signs_of_print_are_plain():
    texts = ["−1.50", "12,345", "–", "+0.5x", "3"]
    rows = [Row([Cell(text)]) for text in texts]
    lines = to_csv(Table("t", "T", [Column("x")], rows)).splitlines()
    assert lines == ["x", "-1.50", "12345", '""', "'+0.5x", "3"]


def test_nothing_starts_a_formula():
    rows = [Row([Cell("=1+1")]), Row([Cell("@x")]), Row([Cell("-cmd")])]
    lines = to_csv(Table("t", "T", [Column("=h")], rows)).splitlines()
    assert lines == ["'=h", "'=1+1", "'@x", "'-cmd"]


def test_the_tables_of_a_report_have_raw_p_values_and_means(store):
    scores = {"scratch": [80.0, 81.0, 82.5], "kd": [90.125, 91.0, 92.0]}
    for label, values in scores.items():
        for seed, score in enumerate(values):
            store.finish(store.add(label, seed), score, features=False)
    grid = Grid(collect(store.root, store.write_manifest()))
    accuracy = read(accuracy_of(grid)).set_index("Method")
    assert math.isclose(accuracy.loc["kd", "teacher → student mean"], sum(scores["kd"]) / 3)
    assert accuracy.loc["kd", "teacher → student n"] == 3
    assert accuracy.loc["kd", "gain over scratch low"] < 9.875
    (row,) = read(differences(Inputs(grid, None))).to_dict("records")
    reach = "same pairs, same teachers"
    assert 0 < row[f"{reach} p"] < 0.002
    assert row[f"{reach} p raw"] != round(row[f"{reach} p raw"], 3)
    assert {f"{reach} low", f"{reach} high", "difference"} <= set(row)
    cost = read(cost_of(grid)).set_index("Method")
    assert cost.loc["kd", "peak memory bytes"] == 512 * 2**20


def test_a_sensitivity_cell_with_a_hole_is_not_bold(store):
    options = [
        (1, 64, [80.0, 82.0]),
        (5, 64, [99.0, None]),
        (5, 128, [70.0, 71.0]),
        (1, 128, [60.0, 61.0]),
    ]
    for steps, bits, scores in options:
        for seed, score in enumerate(scores):
            label = f"dskd steps={steps} bits={bits}"
            chosen = {"steps": steps, "bits": bits}
            entry = store.add(label, seed, method="dskd", salt=label, options=chosen)
            if score is None:
                store.fail(entry)
            else:
                store.finish(entry, score, features=False)
    (table,) = sensitivity(Grid(collect(store.root, store.write_manifest())))
    marks = {cell.text: cell.mark for row in table.rows for cell in row.cells[1:]}
    assert marks["99.00 (1/2 runs)"] == "hole"
    (best,) = [text for text, mark in marks.items() if mark == "best"]
    assert best.startswith("81.00 [")
