"""Accuracy over a grid of two options, with intervals: the numbers behind the heat map."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd
from numpy.typing import ArrayLike

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.runs.variants import grid_options
from analysis.statistics import stats
from analysis.tables.forms.bold import ties_of
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH
from analysis.tables.inputs import Inputs

ORDER = 70


def tables(inputs: Inputs) -> Iterator[Table]:
    """A table for every grid of two options."""
    yield from sensitivity(inputs.grid)


def sensitivity(grid: Grid) -> Iterator[Table]:
    """One table per pair and method whose rows form a grid of two numeric options."""
    for key in grid.columns:
        for method in dict.fromkeys(grid.method(label) for label in grid.labels):
            students = grid.students
            own = students[(students["column"] == key) & (students["method"] == method)]
            options = grid_options(own)
            if options is not None:
                yield _table(grid, key, method, own, options)


def _table(
    grid: Grid, key: ColumnKey, method: str, runs: pd.DataFrame, options: tuple[str, str]
) -> Table:
    down, across = options
    figure = grid.figure_of(key)
    done = runs[runs["state"] == FINISHED] if figure in runs else runs.iloc[:0]
    scores = {
        (row, column): some[figure].to_numpy(float)
        for (row, column), some in done.groupby([down, across])
    }
    expected = runs.groupby([down, across]).size().to_dict()
    labels = runs.groupby([down, across])["label"].first().to_dict()
    ties = ties_of(grid, key, list(labels.values()))  # a cell with a hole does not compete
    best = ties.of[ties.best] if ties else []
    columns = sorted(runs[across].dropna().unique())
    rows = []
    for value in sorted(runs[down].dropna().unique()):
        cells = [
            _cell(
                scores.get((value, it)),
                expected.get((value, it), 0),
                best=labels.get((value, it)) in best,
            )
            for it in columns
        ]
        rows.append(Row([Cell(f"{value:g}"), *cells], method, key.pair))
    return Table(
        name=f"sensitivity-{method}-{grid.columns.index(key)}",
        title=f"{method} on {grid.place(key)}: {_name(down)} (down) x {_name(across)} (across)",
        columns=[Column(_name(down)), *(Column(f"{value:g}") for value in columns)],
        rows=rows,
        caption="Mean accuracy in percent, its 95 % t interval over (n) seeds; bold: "
        "what these runs cannot tell from the highest mean, among cells without a hole (95 %).",
    )


def _cell(scores: ArrayLike | None, expected: int, *, best: bool) -> Cell:
    if scores is None or not len(stats.present(scores)):
        return Cell(f"0/{expected} runs", "hole") if expected else DASH
    values = stats.present(scores)
    interval = stats.t_interval(values)
    text = f"{stats.mean(values):.2f}"
    if not math.isnan(interval.low):
        text += f" [{interval.low:.2f}, {interval.high:.2f}]"
    numbers = {"mean": stats.mean(values), **interval._asdict(), "n": len(values)}
    if len(values) < expected:
        return Cell(f"{text} ({len(values)}/{expected} runs)", "hole", numbers)
    return Cell(f"{text} ({len(values)})", "best" if best else "", numbers)


def _name(option: str) -> str:
    return option.partition("/")[2].replace("_", " ")
