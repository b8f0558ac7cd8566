"""Gap metrics as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from analysis.feature_gap.feature_files import MISSING
from analysis.feature_gap.gap import METRICS, NOISE, Gaps
from analysis.runs.grid import ColumnKey, pair_name, place_names
from analysis.statistics import stats
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import mean_cell, number


def gaps(frame: pd.DataFrame) -> Table | None:
    """Metrics of :class:`analysis.feature_gap.gap.Gaps` per method, mean ± sd over seeds."""
    if frame.empty:
        return None
    rows = [
        Row(
            [*cells, *(mean_cell(runs[name], metric.digits) for name, metric in METRICS.items())],
            label,
            pair,
        )
        for label, pair, cells, runs in _cells(frame)
    ]
    return Table(
        name="gap",
        title="Gap between teacher and student features",
        columns=[*HEAD, *(Column(metric.title) for metric in METRICS.values())],
        rows=rows,
        caption="On held-out images; mean ± standard deviation over n runs.",
        notes=(
            "Fréchet, MMD and Wasserstein compare the teacher's features with the student's after "
            "the best linear map, fitted on training images; Fréchet in units of the teacher's "
            "total variance. Unexplained: variance of the teacher's features that no linear map of "
            "the student's predicts.",
        ),
    ).without_constant("Pair")


def gap_intervals(frame: pd.DataFrame) -> Table | None:
    """Means with half widths of their 95 % intervals over runs and over images."""
    known = [name for name in METRICS if f"{name}{NOISE}" in frame]
    if frame.empty or not known:
        return None
    rows = []
    for label, pair, cells, runs in _cells(frame):
        values = [_interval_cell(runs, name) for name in known]
        rows.append(Row([*cells, *values], label, pair))
    return Table(
        name="gap-intervals",
        title="How sure the gap is",
        columns=[*HEAD, *(Column(METRICS[name].title) for name in known)],
        rows=rows,
        caption=(
            "Mean ± half the width of its 95 % interval over runs (Student's), and in brackets of "
            "that over held-out images (the bootstrap's, closed form)."
        ),
        notes=(
            "The runs of a method see the same images, so that the interval over images does not "
            "shrink with their number.",
        ),
    ).without_constant("Pair")


def gap_holes(gaps: Gaps) -> Table | None:
    """Finished runs without gap figures, and why; None when there is none.

    Where no run has features (they were not kept, or W&B is the source) nothing is missed.
    """
    faults = gaps.faults
    if gaps.runs.empty and len(faults):
        faults = faults[~faults["reason"].str.endswith(MISSING)]
    if faults.empty:
        return None
    names = ["label", "pair", "seed", "reason"]
    rows = [
        Row([Cell(label), Cell(pair_name(pair)), Cell(str(seed)), Cell(why, "hole")], label, pair)
        for label, pair, seed, why in faults[names].itertuples(index=False)
    ]
    return Table(
        name="gap-holes",
        title="Finished runs without gap figures",
        columns=[
            *(Column(name, "l") for name in ("method", "pair")),
            Column("seed"),
            Column("reason", "l"),
        ],
        rows=rows,
        caption="Their accuracies count; no gap figure above holds them.",
    )


HEAD = (Column("Pair", "l"), Column("Method", "l"), Column("features", "l"), Column("n"))


def _cells(frame: pd.DataFrame) -> Iterator[tuple[str, str, list[Cell], pd.DataFrame]]:
    """Label, pair, the first cells and the runs of every row."""
    keys = ["dataset", "recipe", "pair", "label", "view"]
    places = frame[keys[:3]].drop_duplicates().itertuples(index=False, name=None)
    names = place_names([ColumnKey(*map(str, place)) for place in places])
    for (dataset, recipe, pair, label, view), runs in frame.groupby(keys, sort=False):
        name = names[ColumnKey(str(dataset), str(recipe), str(pair))]
        cells = [Cell(name), Cell(str(label)), Cell(str(view)), Cell(str(len(runs)))]
        yield str(label), str(pair), cells, runs


def _interval_cell(runs: pd.DataFrame, name: str) -> Cell:
    """``0.77 ± 0.05 (0.02)``"""
    digits = METRICS[name].digits + 1
    low, high = stats.t_interval(runs[name])
    over_images = stats.NORMAL_95 * stats.mean(runs[f"{name}{NOISE}"])
    over_runs = "" if math.isnan(low) else f" ± {number((high - low) / 2, digits)}"
    middle = number(stats.mean(runs[name]), digits)
    numbers = {
        "mean": stats.mean(runs[name]),
        "low": low,
        "high": high,
        "half width over images": over_images,
    }
    return Cell(f"{middle}{over_runs} ({number(over_images, digits)})", numbers=numbers)
