"""Rows of one method side by side with the options in which they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.runs.designs import design_of
from analysis.runs.grid import Grid
from analysis.runs.variants import varying_options
from analysis.statistics import stats
from analysis.statistics.differences import Differences, compare
from analysis.tables.accuracy import score_cell
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH, difference_cell, interval_cell
from analysis.tables.inputs import Inputs

ORDER = 60


def tables(inputs: Inputs) -> Iterator[Table]:
    """The variants of every method that has several rows."""
    yield from variants(inputs.grid)


def variants(grid: Grid) -> Iterator[Table]:
    """One table per method with several rows: options, accuracy, difference to the first row."""
    for method in dict.fromkeys(grid.method(label) for label in grid.labels):
        labels = [label for label in grid.labels if grid.method(label) == method]
        options = varying_options(grid.students[grid.students["label"].isin(labels)])
        if len(labels) > 1 and options:
            yield _table(grid, method, labels, options)


def _table(grid: Grid, method: str, labels: list[str], options: list[str]) -> Table:
    rows: list[Row] = []
    procedures: list[str] = []
    for key in grid.columns:
        design = design_of(grid, [key], labels)
        found = None if design is None else compare(design)
        procedures += [] if found is None else [found.procedure]
        for number, label in enumerate(labels):
            if not grid.cell(label, key).expected:
                continue
            runs = grid.runs(label, key)
            values = [Cell(_value(runs[name].iloc[0]) if len(runs) else "–") for name in options]
            cells = [Cell(grid.place(key)), Cell(label), *values]
            cell = grid.cell(label, key)
            interval = interval_cell(stats.t_interval(cell.scores), signs=False)
            cells += [score_cell(cell), interval, _difference(found, label, labels[0])]
            rows.append(Row(cells, label, key.pair, rule_above=number == 0 and bool(rows)))
    how = f" ({'; or '.join(dict.fromkeys(procedures))})" if procedures else ""
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
            "Options that differ between the rows; 95 % t interval of each mean. Differences in "
            "points, with 95 % intervals that hold together for all differences between rows of a "
            f"pair{how}."
        ),
    ).without_constant("Pair")


def _difference(found: Differences | None, label: str, reference: str) -> Cell:
    if label == reference or found is None or not {label, reference} <= set(found.methods):
        return DASH
    return difference_cell(*found.interval(label, reference))


def _value(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:g}"
    return "–" if value is None else str(value)
