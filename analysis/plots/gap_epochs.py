"""The gap between student and teacher features over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap.metrics import METRICS
from analysis.feature_gap.views import ORIGINAL, STUDENT, VIEWS
from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import window
from analysis.plots.gap import axis_label
from analysis.plots.style import FULL_INCHES, VIEW_LOOKS, legend, line, tag


def gap_over_epochs(
    axes: Axes, frame: pd.DataFrame, metric: str, colours: Mapping[str, str]
) -> Axes:
    """Mean of a metric over runs over epochs, with their range as a band; the line says the view.

    ``frame``: columns ``label, view, epoch, run_id`` and the metric. A curve beyond the axis, which
    shows how most methods end, leaves it.
    """
    ends = []
    for (label, view), runs in frame.groupby(["label", "view"], sort=False):
        if view == ORIGINAL:
            continue
        table = runs.pivot_table(index="epoch", columns="run_id", values=metric).dropna()
        if table.empty:
            continue
        x, look = table.index.to_numpy(float), line(colours, str(label), marked=True)
        low, high = table.min(axis=1).to_numpy(float), table.max(axis=1).to_numpy(float)
        band = axes.fill_between(x, low, high, color=look["color"], alpha=0.13, lw=0)
        mean = table.mean(axis=1).to_numpy(float)
        lines = axes.plot(x, mean, ls=VIEW_LOOKS[str(view)][2], **look)
        tag([band, *lines], str(label))
        ends.append(mean[-1])
    axes.set_ylim(window(ends, frame[metric]))
    axes.set_xlabel("epoch")
    axes.set_ylabel(axis_label(metric))
    axes.locator_params(nbins=5)
    axes.grid(axis="y")
    return axes


def gap_epochs_figure(
    frame: pd.DataFrame, metrics: Sequence[str], colours: Mapping[str, str]
) -> Figure:
    """A panel per metric over the full width."""
    labels = [str(label) for label in dict.fromkeys(frame["label"])]
    handles = [Line2D([], [], label=it, **line(colours, it, marked=True)) for it in labels]
    handles += [
        Line2D([], [], color="black", ls=VIEW_LOOKS[view][2], label=VIEWS[view])
        for view in VIEW_LOOKS
        if view in set(frame["view"]) - {STUDENT, ORIGINAL}
    ]
    size = (FULL_INCHES, 2.23)
    figure, panels = plt.subplots(1, len(metrics), figsize=size, sharex=True)
    for metric, axes in zip(metrics, panels, strict=True):
        gap_over_epochs(axes, frame, metric, colours)
    legend(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def draw(column: Column) -> Figure | None:
    """Where features of two epochs were kept."""
    frame = column.gap_rows(column.gaps.epochs)
    if frame.empty or frame["epoch"].nunique() < 2:
        return None
    quick = [name for name, metric in METRICS.items() if metric.over_epochs]
    return gap_epochs_figure(frame, quick, column.colours)


def caption(column: Column) -> str:
    """For the report."""
    return (
        "the gap over training, measured on held-out images after some epochs: "
        f"{column.runs_text(column.gap_rows(column.gaps.epochs))}. Lines are means over runs, "
        "bands their range; solid: the student's feature, else as the legend says. The axis "
        "shows how most methods end: what starts or stays far off leaves it."
    )


FIGURES = (ReportFigure("gap-epochs", 50, draw, caption),)
