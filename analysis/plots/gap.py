"""How far the students' features are from the teacher's, method by method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap.gap import NOISE
from analysis.feature_gap.metrics import METRICS
from analysis.feature_gap.views import VIEWS
from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import ARROWS, Window, arrow_at_edge, interval, window
from analysis.plots.style import FULL_INCHES, VIEW_LOOKS, legend, tag
from analysis.statistics import stats

ROW_STEP = 0.24
"""Between the views of a method, in rows."""
RUN_BELOW = 0.09
"""Single runs lie so far below their mean, in rows: not to be taken for ends of its intervals."""


def drawn_metrics() -> list[str]:
    """Metrics that have a panel."""
    return [name for name, metric in METRICS.items() if metric.drawn]


def axis_label(metric: str) -> str:
    """The metric's title, and which way is closer to the teacher."""
    closer = "closer →" if METRICS[metric].higher_is_closer else "← closer"
    return f"{METRICS[metric].title}\n{closer}"


def gap_per_method(axes: Axes, frame: pd.DataFrame, metric: str, labels: Sequence[str]) -> Axes:
    """Mean of a metric per method, single runs as small rings below, and two 95 % intervals.

    Broad and faint: Student's over runs. Thin: over images, where ``frame`` knows their noise. What
    does not fit the axis ends in an arrow.
    """
    means = frame.groupby(["label", "view"])[metric].mean()
    limits = window(means, frame[metric])
    for place, label in enumerate(labels):
        own = frame[frame["label"] == label]
        shown = [view for view in VIEW_LOOKS if view in set(own["view"])]
        for number, view in enumerate(shown):
            y = place + (number - (len(shown) - 1) / 2) * ROW_STEP
            _row(axes, own[own["view"] == view], metric, y, limits)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(limits)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(axis_label(metric))
    axes.locator_params(axis="x", nbins=4)
    return axes


def _row(axes: Axes, runs: pd.DataFrame, metric: str, y: float, limits: Window) -> None:
    """One view of one method."""
    label, view = str(runs["label"].iloc[0]), str(runs["view"].iloc[0])
    colour, marker, _ = VIEW_LOOKS[view]
    before = set(axes.get_children())
    mean, over_runs = stats.mean(runs[metric]), stats.t_interval(runs[metric])
    if limits.side(mean):
        arrow_at_edge(axes, mean, y, limits, {"color": colour})
    else:
        if not np.isnan(over_runs.low):
            interval(
                axes, *over_runs, y, limits,
                color=colour, lw=2.2, alpha=0.3, solid_capstyle="butt",
            )  # fmt: skip
        half = (
            stats.NORMAL_95 * stats.mean(runs[f"{metric}{NOISE}"])
            if f"{metric}{NOISE}" in runs
            else np.nan
        )
        if not np.isnan(half):
            interval(axes, mean - half, mean + half, y, limits, color=colour, lw=0.7)
        axes.plot([mean], [y], marker, color=colour, ms=4, mew=0)
    tag(set(axes.get_children()) - before, label)
    for _, run in runs.iterrows():
        value = float(run[metric])
        look: dict[str, Any] = {
            "color": colour,
            "mew": 0.4,
            "ms": 1.8,
            "mfc": "none",
            "clip_on": False,
        }
        shape = ARROWS.get(limits.side(value), "o")
        tag(axes.plot([limits.clip(value)], [y + RUN_BELOW], shape, **look), label, run)


def gaps_figure(frame: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """A panel per metric side by side over the full width."""
    present = [label for label in labels if label in set(frame["label"])]
    shown = [view for view in VIEW_LOOKS if view in set(frame["view"])]
    rows = sum(max(1.0, 0.62 * frame[frame["label"] == it]["view"].nunique()) for it in present)
    metrics = drawn_metrics()
    figure, panels = plt.subplots(
        1, len(metrics), figsize=(FULL_INCHES, 0.8 + 0.25 * max(3.0, rows)), sharey=True
    )
    for metric, axes in zip(metrics, panels, strict=True):
        gap_per_method(axes, frame, metric, present)
    if len(shown) > 1:
        handles = [
            Line2D([], [], color=VIEW_LOOKS[it][0], marker=VIEW_LOOKS[it][1], lw=0) for it in shown
        ]
        legend(figure, handles, [VIEWS[it] for it in shown])
    return figure


def draw(column: Column) -> Figure | None:
    """Where runs have features."""
    frame = column.gap_rows(column.gaps.runs)
    return None if frame.empty else gaps_figure(frame, column.labels)


def caption(column: Column) -> str:
    """For the report."""
    runs = column.gap_rows(column.gaps.runs)
    return (
        f"distance between student and teacher features on held-out images: "
        f"{column.runs_text(runs)}. Large marks are means, the small rings below them single runs; "
        "95 % intervals: broad over runs, thin over images; an arrow where an interval, a run or, "
        "with its value, a mean lies beyond the axis. The virtual teacher has seen the teacher's "
        "prediction for the very image; the unguided sample beside it has not."
    )


FIGURES = (ReportFigure("gap", 40, draw, caption),)
