"""Accuracy over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import (
    COLUMN_INCHES,
    TEACHER,
    End,
    height_for,
    label_ends,
    line,
    tag,
    titled,
)
from analysis.statistics import stats

EARLIER = 2.0
"""Below the lowest end there is room for so many times the range of the ends."""


def training_curves(
    axes: Axes,
    epochs: pd.DataFrame,
    metric: str,
    labels: Sequence[str],
    colours: Mapping[str, str],
    teacher: float | None = None,
    names: Mapping[str, str] | None = None,
) -> Axes:
    """Mean of ``metric`` over seeds with a band of ± one standard deviation, labelled at the end.

    ``epochs``: columns ``label, seed, epoch`` and ``metric``; an epoch counts where every run that
    reached any epoch has it, so that a mean never changes its members. ``teacher``: a dashed line.
    What ends far below the others is named at the lower edge with its figure.
    """
    ends, tops, shown = [], [], names or {}
    for label in labels:
        runs = epochs[epochs["label"] == label]
        table = runs.pivot_table(index="epoch", columns="run_id", values=metric).dropna()
        if table.empty:
            continue
        x, mean = table.index.to_numpy(float), table.mean(axis=1).to_numpy(float)
        marks: list[Artist] = [*axes.plot(x, mean, zorder=3, **line(colours, label))]
        if table.shape[1] > 1:
            sd = table.std(axis=1).to_numpy(float)
            marks.append(
                axes.fill_between(x, mean - sd, mean + sd, color=colours[label], alpha=0.14, lw=0)
            )
            tops.append(float(mean[-1] + sd[-1]))
        tag(marks, label)
        ends.append(End(shown.get(label, label), float(mean[-1]), colours[label], label))
    if not ends:
        return axes
    floor = _floor([end.y for end in ends])
    inside = [end.y for end in ends if end.y >= floor]
    low, high = _window(inside, tops, epochs[metric], teacher)
    axes.set_ylim(low, high)
    ends = [
        end if end.y >= floor else end._replace(text=f"↓ {end.text} {end.y:.1f}", y=low)
        for end in ends
    ]
    if teacher is not None and teacher <= high:
        axes.axhline(teacher, color=TEACHER, ls=(0, (4, 2)), lw=0.9, zorder=1)
        ends.append(End("teacher", teacher, TEACHER))
    elif teacher is not None:
        ends.append(End(f"↑ teacher {teacher:.1f}", high, TEACHER, "teacher"))
    last = float(epochs["epoch"].max())
    axes.set_xlim(min(1.0, last - 1), last)
    label_ends(axes, ends)
    axes.set_xlabel("epoch")
    return axes


def curves_figure(
    epochs: pd.DataFrame,
    metric: str,
    title: str,
    labels: Sequence[str],
    colours: Mapping[str, str],
    teacher: float | None = None,
    names: Mapping[str, str] | None = None,
) -> Figure:
    """One column wide. ``names``: what to write for a label, if not itself."""
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, height_for(len(labels) + 1)))
    training_curves(axes, epochs, metric, labels, colours, teacher, names)
    axes.set_ylabel("accuracy (%)")
    axes.set_title(title)
    axes.grid(axis="y")
    return figure


def _floor(ends: Sequence[float]) -> float:
    """What ends below is far off the others: named at the edge, so that these can be told apart."""
    middle = statistics.median(ends)
    return middle - 4 * max(max(ends) - middle, 2.0)


def _window(
    ends: Sequence[float], tops: Sequence[float], values: pd.Series, teacher: float | None
) -> tuple[float, float]:
    """Limits that show the differences at the end: the start of training may be cut off.

    ``tops``: where the bands end, which belong to it. A teacher far above its students stays
    outside, too.
    """
    low, high = min(ends), max([*ends, *tops])
    reach = max(high - low, 1.0)
    if teacher is not None and teacher - high < max(5.0, 2 * reach):
        high = max(high, teacher)
        reach = max(high - low, 1.0)
    low = max(low - EARLIER * reach, float(values.min()))
    margin = 0.05 * (high - low)
    return low - margin, min(100.5, high + margin)


def draw(column: Column) -> Figure | None:
    """Mean over the finished runs."""
    table, metric = column.metrics, column.accuracy
    if metric not in table or table.groupby("run_id")[metric].count().max() < 2:
        return None
    teacher = column.grid.teacher_accuracy(column.key)
    return curves_figure(
        table.dropna(subset=[metric]),
        metric,
        titled(f"{column.networks}: {column.split} accuracy"),
        [label for label in column.labels if label in set(table["label"])],
        column.colours,
        stats.mean(teacher) if len(teacher) else None,
        _names(column, table.groupby("label")["run_id"].nunique()),
    )


def _names(column: Column, drawn: pd.Series) -> dict[str, str]:
    """``kd (2/3)`` where fewer runs than expected are drawn."""
    expected = {
        str(label): column.grid.cell(str(label), column.key).expected for label in drawn.index
    }
    return {
        label: f"{label} ({drawn[label]}/{n})" for label, n in expected.items() if drawn[label] < n
    }


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"accuracy on the {column.split} split over training: {column.runs_text(column.metrics)}. "
        "Lines are means, bands ± one standard deviation over runs, the grey dashed line is the "
        "teacher. The axis shows the end of training; what lies outside is named at the edge with "
        "its value (↓, ↑)."
    )


FIGURES = (ReportFigure("curves", 10, draw, caption),)
