"""Published figures beside ours."""

from __future__ import annotations

import math

import pandas as pd

from analysis.runs import published
from analysis.runs.grid import TEST, ColumnKey, Grid, GridCell
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.accuracy import score_cell
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import number_cell, signed


def published_figures(grid: Grid) -> Table | None:
    """What was published of our cells, beside ours, with a verdict; None where nothing was."""
    rows: list[Row] = []
    sources: dict[str, None] = {}
    for key in grid.columns:
        teacher, student = grid.models(key)
        for label in grid.labels:
            method = grid.method(label)
            if teacher is None or label != grid.label_of(method):
                continue
            known = published.figures(key.dataset, teacher, student, method)
            rows += [_published_row(grid, label, key, anchor) for _, anchor in known.iterrows()]
            sources |= dict.fromkeys(known["source"])
    if not rows:
        return None
    full = [source for source in sources if source != _short(source)]
    return Table(
        name="published",
        title="Published figures beside ours",
        columns=[
            Column("Pair", "l"),
            Column("Method", "l"),
            Column("published"),
            Column("protocol", "l"),
            Column("ours"),
            Column("verdict", "l"),
            Column("source", "l"),
        ],
        rows=rows,
        caption=(
            "A published row is a claim of its source under its protocol; ours is taken at the "
            "same epoch (last, or best test epoch where the source selects on test)."
        ),
        notes=("reproduced: the published figure lies in the 95 % t interval of our mean.", *full),
    ).without_constant("Pair")


def _published_row(grid: Grid, label: str, key: ColumnKey, anchor: pd.Series) -> Row:
    protocol = str(anchor["protocol"])
    figure = "best_test/test/top1_percent" if protocol == "best" else TEST
    cell = grid.cell(label, key, figure)
    ours = score_cell(cell)
    cells = [
        Cell(grid.place(key)),
        Cell(label),
        number_cell(float(anchor["top1_percent"]), 2),
        Cell(f"{protocol} epoch" if protocol else "not stated"),
        ours,
        Cell(verdict(grid.runs(label, key), cell, float(anchor["top1_percent"]), key.dataset)),
        Cell(_short(str(anchor["source"]))),
    ]
    return Row(cells, label, key.pair)


def _short(source: str) -> str:
    """``RepDistiller README (paper repo; ...)`` -> ``RepDistiller README``."""
    return source.split(" (")[0].split(": ")[0].removeprefix("winycg/").removeprefix("WangYZ1608/")


def verdict(runs: pd.DataFrame, cell: GridCell, anchor: float, dataset: str) -> str:
    """``reproduced``, ``above by``, ``below by``, or why the two cannot be compared."""
    if not cell.n:
        return "not tested" if FINISHED in cell.states else "no run"
    wanted = published.EPOCHS.get(dataset)
    lengths = set(runs.get("config/epochs", pd.Series(dtype=float)).dropna().astype(int))
    if wanted is not None and lengths and lengths != {wanted}:
        return f"not comparable: {'/'.join(map(str, sorted(lengths)))} of {wanted} epochs"
    limits = runs.get("config/train_limit", pd.Series(dtype=float)).dropna()
    if len(limits):
        return f"not comparable: {int(limits.min()):,} training images"
    difference = stats.mean(cell.scores) - anchor
    if cell.n < 2:
        return f"{signed(difference)}, no interval (1 run)"
    interval = stats.t_interval(cell.scores)
    if math.isnan(interval.low):
        return f"{signed(difference)}, no interval ({cell.n} equal runs)"
    if interval.contains(anchor):
        return f"reproduced ({signed(difference)})"
    return f"{'above' if difference > 0 else 'below'} by {abs(difference):.2f}"
