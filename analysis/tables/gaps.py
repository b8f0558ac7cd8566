"""Gap metrics as a table."""

from __future__ import annotations

import pandas as pd

from analysis.gap import METRICS
from analysis.grid import pair_name
from analysis.render import Cell, Column, Row, Table
from analysis.tables.text import mean_cell


def gaps(frame: pd.DataFrame) -> Table | None:
    """Metrics of :func:`analysis.gap.frame` per method, mean ± sd over seeds."""
    if frame.empty:
        return None
    rows = []
    keys = ["dataset", "recipe", "pair", "label", "view"]
    for (_, recipe, pair, label, view), runs in frame.groupby(keys, sort=False):
        values = [mean_cell(runs[name], metric.digits) for name, metric in METRICS.items()]
        name = pair_name(str(pair)) + (f" ({recipe})" if frame["recipe"].nunique() > 1 else "")
        cells = [Cell(name), Cell(str(label)), Cell(str(view))]
        rows.append(Row([*cells, *values], str(label), str(pair)))
    columns = [Column("Pair", "l"), Column("Method", "l"), Column("features", "l")]
    return Table(
        name="gap",
        title="Gap between teacher and student features",
        columns=[*columns, *(Column(metric.title) for metric in METRICS.values())],
        rows=rows,
        caption="On held-out images; mean ± standard deviation over runs.",
        notes=(
            "Fréchet, MMD and Wasserstein compare the teacher's features with the student's after "
            "the best linear map, fitted on training images; Fréchet in units of the teacher's "
            "total variance. Unexplained: variance of the teacher's features that no linear map of "
            "the student's predicts.",
        ),
    ).without_constant("Pair")
