"""Scores over the columns of a grid: what is said of several pairs together."""

from __future__ import annotations

import pandas as pd

from analysis.runs.grid import Grid
from analysis.statistics import stats
from analysis.statistics.stats import Array


def complete_means(grid: Grid) -> pd.DataFrame:
    """Mean accuracy, a row a column of the grid and a column a method; complete methods alone."""
    means = {
        label: [stats.mean(grid.cell(label, key).scores) for key in grid.columns]
        for label in grid.labels
        if all(grid.cell(label, key).complete for key in grid.columns)
    }
    return pd.DataFrame(means)


def gains_of_runs(grid: Grid) -> tuple[str | None, dict[str, Array]]:
    """The row that gains are measured from, and the gains [replicates, columns] of every other.

    A gain is the accuracy of a run minus the mean of the reference in its column. Scratch is the
    reference, else KD; None without either. Only methods with runs in every column have gains.
    """
    base = grid.label_of("scratch") or grid.label_of("kd")
    known = complete_means(grid)
    if base is None or base not in known:
        return None, {}
    zero = known[base].to_numpy()
    return base, {name: grid.array(name) - zero for name in map(str, known) if name != base}
