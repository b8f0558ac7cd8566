"""What methods gain over all pairs together, robust against single pairs and runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.runs.grid import Grid
from analysis.runs.over_pairs import complete_means, gains_of_runs
from analysis.statistics import stats
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import difference_cell, number_cell
from analysis.tables.inputs import Inputs

ORDER = 45


def tables(inputs: Inputs) -> Iterator[Table]:
    """One table, from two pairs on."""
    if len(inputs.grid.columns) > 1 and gains_of_runs(inputs.grid)[1]:
        yield over_pairs(inputs.grid)


def over_pairs(grid: Grid) -> Table:
    """Interquartile mean of the gains of all runs, with the stratified bootstrap, and ranks."""
    base, gains = gains_of_runs(grid)
    means = complete_means(grid)
    ranks = dict(zip(means, stats.average_ranks(means.to_numpy()).average, strict=True))
    rows = []
    for number, (label, scores) in enumerate(gains.items()):
        interval = stats.bootstrap_interval(
            scores, np.random.default_rng(number), stats.interquartile_mean
        )
        middle = float(stats.interquartile_mean(stats.present(scores)))
        cells = [
            Cell(label),
            difference_cell(middle, interval),
            number_cell(float(np.median(stats.present(scores))), 2),
            number_cell(float((stats.present(scores) > 0).mean() * 100), 0),
            number_cell(float(ranks[label]), 2),
        ]
        rows.append(Row(cells, label))
    headers = ["interquartile mean", "median", "above 0 (%)", "rank"]
    return Table(
        name="over-pairs",
        title="Over all pairs",
        columns=[Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption=(
            f"Gains of single runs over the mean of {base} in their pair, in points; "
            f"{len(grid.columns)} pairs, methods with all runs of each."
        ),
        notes=(
            "interquartile mean: of the middle half of all runs, with the 95 % interval of the "
            "bootstrap stratified by pair (Agarwal et al. 2021). It is of these pairs, leaves out "
            f"the chance in the mean of {base}, and is too narrow below five seeds.",
            "rank: mean over pairs of the rank of the mean, 1 is best.",
        ),
    )
