"""Published figures beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from scipy import stats as distributions

from analysis.runs import published
from analysis.runs.grid import TEST, ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.accuracy import score_cell
from analysis.tables.differences import MARGIN, verdict
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import number_cell, signed
from analysis.tables.inputs import Inputs

ORDER = 30
VERDICTS = {
    f"equivalent within {MARGIN:g}": "reproduced",
    "higher": "above",
    "lower": "below",
    "open": "open",
}


def tables(inputs: Inputs) -> Iterator[Table]:
    """What was published, where something was."""
    yield published_figures(inputs.grid)


def published_figures(grid: Grid) -> Table:
    """What was published of our cells, beside ours, with a verdict."""
    rows: list[Row] = []
    sources: dict[str, None] = {}
    others = published.reported(grid.collected.runs_root)
    for key in grid.columns:
        teacher, student = grid.models(key)
        for label in grid.labels:
            method = grid.method(label)
            if teacher is None or label != grid.label_of(method):
                continue
            known = published.figures(key.dataset, teacher, student, method)
            rows += [_published_row(grid, label, key, anchor) for _, anchor in known.iterrows()]
            sources |= dict.fromkeys(known["source"])
        rows += _reported_rows(grid, key, others)
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
            "same epoch (last, or best test epoch where the source selects on test); at the last "
            "where the source does not say which, and such a row compares what may not be the same."
        ),
        notes=(
            "reproduced: the 95 % interval of our mean (deviation pooled over the methods of the "
            f"pair where these scatter alike) lies within {MARGIN:g} points of the published "
            "figure, taken as it is: most sources say nothing of its error. above, below: the "
            "interval leaves it out; "
            "open: neither.",
            *full,
        ),
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
        Cell(f"{protocol} epoch") if protocol else Cell("not stated", "hole"),
        ours,
        Cell(compared(grid, label, key, figure, anchor)),
        Cell(_short(str(anchor["source"]))),
    ]
    return Row(cells, label, key.pair)


def _reported_rows(grid: Grid, key: ColumnKey, others: pd.DataFrame) -> list[Row]:
    """What other code bases report of a pair, also of methods that were not run here."""
    teacher, student = grid.models(key)
    if teacher is None:
        return []
    models = (others["teacher"] == teacher.partition(".")[0]) & (
        others["student"] == student.partition(".")[0]
    )
    rows = []
    for _, figure in others[models & (others["dataset"] == key.dataset)].iterrows():
        label = grid.label_of(figure["method"])
        row = _published_row(grid, label or figure["method"], key, figure)
        source = Cell(f"reported: {figure['source']}")
        rows.append(replace(row, cells=[*row.cells[:-1], source]))
    return rows


def _short(source: str) -> str:
    """``RepDistiller README (paper repo; ...)`` -> ``RepDistiller README``."""
    return source.split(" (")[0].split(": ")[0].removeprefix("winycg/").removeprefix("WangYZ1608/")


def _epochs(anchor: pd.Series) -> int | None:
    """How long the training behind a figure was, where that is known."""
    if "epochs" not in anchor:
        return published.EPOCHS.get(anchor["dataset"])
    return None if pd.isna(anchor["epochs"]) else int(anchor["epochs"])


def compared(grid: Grid, label: str, key: ColumnKey, figure: str, anchor: pd.Series) -> str:
    """One of :data:`VERDICTS` with the difference, or why the two cannot be compared."""
    runs, cell, wanted = grid.runs(label, key), grid.cell(label, key, figure), _epochs(anchor)
    if not cell.n:
        return "not tested" if FINISHED in cell.states else "no run"
    lengths = set(runs.get("config/epochs", pd.Series(dtype=float)).dropna().astype(int))
    if wanted is not None and lengths and lengths != {wanted}:
        return f"not comparable: {'/'.join(map(str, sorted(lengths)))} of {wanted} epochs"
    limits = runs.get("config/train_limit", pd.Series(dtype=float)).dropna()
    if len(limits):
        return f"not comparable: {int(limits.min()):,} training images"
    difference = stats.mean(cell.scores) - float(anchor["top1_percent"])
    half = half_width(grid, label, key, figure)
    if math.isnan(half):
        return f"{signed(difference)}, no interval"
    words = VERDICTS[verdict(stats.Interval(difference - half, difference + half))]
    return f"{words} ({signed(difference)} ± {half:.2f})"


def half_width(grid: Grid, label: str, key: ColumnKey, figure: str) -> float:
    """Of the 95 % interval of a mean, with the deviation pooled over the methods of its column.

    With its own where the seeds of the column's methods scatter quite otherwise.
    """
    cells = {name: stats.present(grid.cell(name, key, figure).scores) for name in grid.labels}
    cells = {name: scores for name, scores in cells.items() if len(scores)}
    degrees = {name: len(scores) - 1 for name, scores in cells.items()}
    squares = {name: float(((it - it.mean()) ** 2).sum()) for name, it in cells.items()}
    alike = stats.scatter_alike([*squares.values()], [*degrees.values()])
    sharing = cells if alike else [label]
    freedom = sum(degrees[name] for name in sharing)
    if not freedom:
        return math.nan
    variance = sum(squares[name] for name in sharing) / freedom
    n = grid.cell(label, key, figure).n
    return float(distributions.t.ppf(0.975, freedom)) * math.sqrt(variance / n) or math.nan
