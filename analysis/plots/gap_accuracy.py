"""Does closing the gap buy accuracy?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.feature_gap.views import STUDENT
from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import arrow_at_edge, window
from analysis.plots.gap import axis_label, drawn_metrics
from analysis.plots.style import FULL_INCHES, legend, tag
from analysis.statistics import stats


def gap_against_accuracy(
    axes: Axes,
    points: pd.DataFrame,
    metric: str,
    colours: Mapping[str, str],
    markers: Mapping[str, str],
) -> Axes:
    """One point a run (``label``, ``accuracy``, metric), a large one per method, Spearman's rho.

    The correlation is over the means of all methods, also of those beyond the axes.
    """
    means = points.groupby("label", sort=False)[[metric, "accuracy"]].mean()
    across, up = (window(means[name], points[name]) for name in (metric, "accuracy"))
    beyond: Counter[str] = Counter()
    for label, row in means.iterrows():
        name = str(label)
        look = {"color": colours[name]}
        style: dict[str, Any] = {**look, "marker": markers[name], "lw": 0, "mew": 0}
        for _, run in points[points["label"] == label].iterrows():
            tag(axes.plot(run[metric], run["accuracy"], alpha=0.45, ms=3, **style), name, run)
        x, y = row[metric], row["accuracy"]
        marks = axes.plot([x], [y], ms=5.5, label=name, **style)
        if up.side(y):
            text = f"{x:.3g} / {y:.3g}" if across.side(x) else ""
            ha = {"low": "left", "high": "right"}.get(across.side(x), "center")
            place = (across.clip(x), y)
            marks += arrow_at_edge(
                axes, *place, up, look, upright=True, text=text, ha=ha, row=beyond[up.side(y)]
            )
            beyond[up.side(y)] += 1
        else:
            marks += arrow_at_edge(axes, x, y, across, look)
        tag(marks, name)
    axes.set_xlim(across)
    axes.set_ylim(up)
    rho, p = stats.rank_correlation(means[metric].to_numpy(), means["accuracy"].to_numpy())
    if not np.isnan(rho):
        text = f"ρ = {rho:.2f}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}".replace("-", "−")
        axes.set_title(text, fontweight="normal", fontsize=7)
    axes.set_xlabel(axis_label(metric))
    axes.locator_params(axis="x", nbins=4)
    return axes


def gap_accuracy_figure(
    points: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Figure:
    """A panel per metric over the full width."""
    metrics = drawn_metrics()
    figure, panels = plt.subplots(1, len(metrics), figsize=(FULL_INCHES, 2.18), sharey=True)
    for metric, axes in zip(metrics, panels, strict=True):
        gap_against_accuracy(axes, points, metric, colours, markers)
        axes.grid()
    panels[0].set_ylabel("accuracy (%)")
    legend(figure, *panels[0].get_legend_handles_labels())
    return figure


def draw(column: Column) -> Figure | None:
    """Three methods or more."""
    points = _points(column)
    if points["label"].nunique() < 3:
        return None
    return gap_accuracy_figure(points, column.colours, column.markers)


def _points(column: Column) -> pd.DataFrame:
    frame = column.gap_rows(column.gaps.runs)
    if frame.empty:
        return pd.DataFrame(columns=["label", "run_id", "seed"])
    runs = column.with_accuracy(column.finished)[["run_id", "label", "accuracy"]]
    return frame[frame["view"] == STUDENT].merge(runs.dropna(), on=["run_id", "label"])


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"does closing the gap buy accuracy ({column.split} split)? "
        f"{column.runs_text(_points(column))}; the students' features on held-out images. Large "
        "marks are means of a method, small ones single runs, an arrow with its value (of both "
        "axes: x / y) is a mean beyond them. ρ is Spearman's rank correlation of the means, p not "
        "corrected for the number of panels."
    )


FIGURES = (ReportFigure("gap-accuracy", 60, draw, caption),)
