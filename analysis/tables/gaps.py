"""The gap between the features of teacher and student as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.feature_gap import differences
from analysis.feature_gap.feature_files import MISSING
from analysis.feature_gap.gap import NOISE, PLACE, Gaps
from analysis.feature_gap.metrics import METRICS
from analysis.feature_gap.views import STUDENT, VIEWS, VIRTUAL
from analysis.runs.grid import ColumnKey, pair_name, place_names
from analysis.statistics import stats
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH, mean_cell, number
from analysis.tables.gains import references
from analysis.tables.inputs import Inputs

ORDER = 100
HEAD = (Column("Pair", "l"), Column("Method", "l"), Column("features", "l"), Column("n"))
SEES = (
    "The virtual teacher is denoised under guidance by the teacher's prediction for the very image "
    "(of control rows: by its label), so that its small gap is no evidence that the student is "
    "close; the unguided sample of the same noise stands beside it."
)


def tables(inputs: Inputs) -> Iterator[Table]:
    """The gap, how sure it is, differences between methods, and what is missing."""
    found = inputs.gaps
    made = (
        gaps(found),
        gap_intervals(found.runs),
        gap_differences(found.runs, references(inputs.grid)),
        gap_holes(found),
    )
    yield from (table for table in made if table is not None)


def gaps(found: Gaps) -> Table | None:
    """Every metric per method, mean ± sd over runs; below, the floor of what chance alone makes."""
    if found.runs.empty:
        return None
    rows = [
        Row([*cells, *_means(runs)], label, pair) for label, pair, cells, runs in _cells(found.runs)
    ]
    rows += [
        Row([*cells, *_means(twins)], "", pair, rule_above=True)
        for _, pair, cells, twins in _cells(found.floor)
    ]
    notes = [
        "CKA from the unbiased HSIC; it and class geometry compare the student's own features. The "
        "rest compares the teacher's features with the student's after the best linear map, fitted "
        "on training images; Fréchet without its bias by the number of images, in units of the "
        "teacher's total variance. Unexplained: variance of the teacher's features that no linear "
        "map of the student's predicts."
    ]
    notes += [SEES] * (VIRTUAL in set(found.runs["view"]))
    if len(found.floor):
        notes.append(
            "Two seeds, two teachers: the same metrics between two networks that differ by chance "
            "alone. A student cannot be expected to be closer to its teacher than another training "
            "of that teacher is."
        )
    return Table(
        name="gap",
        title="Gap between teacher and student features",
        columns=[*HEAD, *(Column(metric.title) for metric in METRICS.values())],
        rows=rows,
        caption="On held-out images; mean ± standard deviation over n runs.",
        notes=notes,
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
        title="Uncertainty of the gap",
        columns=[*HEAD, *(Column(METRICS[name].title) for name in known)],
        rows=rows,
        caption=(
            "Mean ± half the width of its 95 % interval over runs (Student's), and in brackets of "
            "that over held-out images (infinitesimal jackknife)."
        ),
        notes=(
            "The runs of a method see the same images, so that the interval over images does not "
            "shrink with their number.",
        ),
    ).without_constant("Pair")


def gap_differences(frame: pd.DataFrame, references: Sequence[str]) -> Table | None:
    """Differences to the reference methods, paired by seed and by image."""
    known = [name for name in METRICS if f"{name}{NOISE}" in frame]
    if frame.empty or not known:
        return None
    rows = []
    for label, pair, cells, runs in _cells(frame[frame["view"] == STUDENT]):
        place = np.all([frame[name] == runs[name].iloc[0] for name in PLACE], axis=0)
        earlier = references[: references.index(label)] if label in references else references
        for reference in earlier:
            other = frame[place & (frame["view"] == STUDENT) & (frame["label"] == reference)]
            if len(other):
                values = [_difference_cell(runs, other, name) for name in known]
                rows.append(Row([cells[0], Cell(f"{label} − {reference}"), *values], label, pair))
    return Table(
        name="gap-differences",
        title="Differences of the gap",
        columns=[*HEAD[:2], *(Column(METRICS[name].title) for name in known)],
        rows=rows,
        caption=(
            "Difference of the students' features to the teacher's between two methods ± half the "
            "width of its 95 % interval over runs (paired by seed), and in brackets of that over "
            "held-out images (paired by image); not corrected for their number."
        ),
        notes=(
            "A difference is established where it exceeds both. Closer to the teacher: "
            + ", ".join(
                f"{METRICS[name].title} {'up' if METRICS[name].higher_is_closer else 'down'}"
                for name in known
            )
            + ".",
        ),
    ).without_constant("Pair")


def gap_holes(gaps: Gaps) -> Table | None:
    """Finished runs without gap metrics, and why; None when there is none.

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
        title="Finished runs without gap metrics",
        columns=[
            *(Column(name, "l") for name in ("method", "pair")),
            Column("seed"),
            Column("reason", "l"),
        ],
        rows=rows,
        caption="Their accuracies count; no gap metric above holds them.",
    )


def _cells(frame: pd.DataFrame) -> Iterator[tuple[str, str, list[Cell], pd.DataFrame]]:
    """Label, pair, the first cells and the runs of every row."""
    if frame.empty:
        return
    keys = [*PLACE, "label", "view"]
    places = frame[keys[:3]].drop_duplicates().itertuples(index=False, name=None)
    names = place_names([ColumnKey(*map(str, place)) for place in places])
    for (dataset, recipe, pair, label, view), runs in frame.groupby(keys, sort=False):
        name = names[ColumnKey(str(dataset), str(recipe), str(pair))]
        shown = VIEWS.get(str(view), str(view))
        cells = [Cell(name), Cell(str(label)), Cell(shown), Cell(str(len(runs)))]
        yield str(label), str(pair), cells, runs


def _means(runs: pd.DataFrame) -> list[Cell]:
    return [
        mean_cell(runs[name], metric.digits) if name in runs else DASH
        for name, metric in METRICS.items()
    ]


def _interval_cell(runs: pd.DataFrame, name: str) -> Cell:
    """``0.77 ± 0.05 (0.02)``"""
    low, high = stats.t_interval(runs[name])
    over_images = stats.NORMAL_95 * stats.mean(runs[f"{name}{NOISE}"])
    digits = METRICS[name].digits + 1
    return _with_halves(stats.mean(runs[name]), (high - low) / 2, over_images, digits)


def _difference_cell(runs: pd.DataFrame, other: pd.DataFrame, name: str) -> Cell:
    """``−0.07 ± 0.05 (0.02)``"""
    between = differences.between(runs, other, name)
    digits = METRICS[name].digits + 1
    return _with_halves(between.mean, between.half_over_runs, between.half_over_images, digits)


def _with_halves(mean: float, over_runs: float, over_images: float, digits: int) -> Cell:
    runs = "" if math.isnan(over_runs) else f" ± {number(over_runs, digits)}"
    numbers = {
        "mean": mean,
        "half width over runs": over_runs,
        "half width over images": over_images,
    }
    return Cell(f"{number(mean, digits)}{runs} ({number(over_images, digits)})", numbers=numbers)
