"""Rows of one method side by side with the options in which they differ."""

from __future__ import annotations

import math

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.variants import varying_options
from analysis.statistics import stats
from analysis.tables.accuracy import score_cell
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import DASH, difference_cell, interval_cell


def variants(grid: Grid) -> list[Table]:
    """One table per method with several rows: options, accuracy, difference to the first row."""
    tables = []
    for method in dict.fromkeys(grid.method(label) for label in grid.labels):
        labels = [label for label in grid.labels if grid.method(label) == method]
        options = varying_options(grid.students[grid.students["label"].isin(labels)])
        if len(labels) > 1 and options:
            tables.append(_table(grid, method, labels, options))
    return tables


def _table(grid: Grid, method: str, labels: list[str], options: list[str]) -> Table:
    rows: list[Row] = []
    for key in grid.columns:
        for number, label in enumerate(labels):
            if not grid.cell(label, key).expected:
                continue
            runs = grid.runs(label, key)
            values = [Cell(_value(runs[name].iloc[0]) if len(runs) else "–") for name in options]
            cells = [Cell(grid.place(key)), Cell(label), *values]
            cell = grid.cell(label, key)
            interval = interval_cell(stats.t_interval(cell.scores), signs=False)
            cells += [score_cell(cell), interval, _difference(grid, label, labels[0], key)]
            rows.append(Row(cells, label, key.pair, rule_above=number == 0 and bool(rows)))
    names = [name.split("/", 1)[1].replace("_", " ") for name in options]
    return Table(
        name=f"variants-{method}",
        title=f"Variants of {method}",
        columns=[
            Column("Pair", "l"),
            Column("Row", "l"),
            *map(Column, names),
            Column("accuracy"),
            Column("95 % interval"),
            Column(f"difference to {labels[0]}"),
        ],
        rows=rows,
        caption=(
            "Options that differ between the rows; differences are paired by seed, in points, with "
            "the 95 % t interval of their mean."
        ),
    ).without_constant("Pair")


def _difference(grid: Grid, label: str, reference: str, key: ColumnKey) -> Cell:
    if label == reference:
        return DASH
    differences = stats.paired_differences(
        grid.cell(label, key).scores, grid.cell(reference, key).scores
    )
    return difference_cell(differences) if len(stats.present(differences)) else DASH


def _value(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:g}"
    return "–" if value is None else str(value)
