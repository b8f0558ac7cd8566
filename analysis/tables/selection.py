"""What choosing the epoch on test images would have claimed."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.runs.grid import TEST, Grid
from analysis.statistics import stats
from analysis.tables.accuracy import name_cell
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import number_cell, signed_cell
from analysis.tables.inputs import Inputs

ORDER = 80


def tables(inputs: Inputs) -> Iterator[Table]:
    """Selection optimism, where something was tested."""
    yield selection(inputs.grid)


def selection(grid: Grid) -> Table:
    """What choosing the epoch would have claimed; without rows where no column was tested."""
    rows: list[Row] = []
    for key in (it for it in grid.columns if grid.figure_of(it) == TEST):
        for label in grid.labels:
            last = grid.cell(label, key).scores
            by_val = grid.cell(label, key, "best_val/test/top1_percent").scores
            by_test = grid.cell(label, key, "best_test/test/top1_percent").scores
            if not len(stats.present(last)):
                continue
            cells = [
                Cell(grid.place(key)),
                name_cell(grid, label, key),
                number_cell(stats.mean(last), 2),
                number_cell(stats.mean(by_val), 2),
                number_cell(stats.mean(by_test), 2),
                signed_cell(stats.mean(by_val - last)),
                signed_cell(stats.mean(by_test - last)),
            ]
            first = label == grid.labels[0] and bool(rows)
            rows.append(Row(cells, label, key.pair, rule_above=first))
    headers = [
        "last epoch", "best validation", "best test", "validation − last", "test − last",
    ]  # fmt: skip
    return Table(
        name="selection",
        title="Selection optimism",
        columns=[Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption=(
            "Test top-1 (%) at three epochs of the same runs. The last epoch is reported; the last "
            "column is what choosing the epoch on the test split would have added."
        ),
    ).without_constant("Pair")
