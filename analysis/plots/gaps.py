"""How far the student's features are from the teacher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap.gap import METRICS, NOISE
from analysis.plots.style import DENOISED, FULL_INCHES, STUDENT, legend, line
from analysis.statistics import stats

SHOWN = ("cka", "unexplained", "frechet", "mmd")
VIEW_STYLE = {
    "student": (STUDENT, "o"),
    "original": ("#56B4E9", "s"),
    "denoised": (DENOISED, "D"),
}
EPOCH_LINES = {"student": "-", "denoised": "--"}
VIEW_NAMES = {
    "student": "student",
    "original": "before denoising",
    "denoised": "after denoising",
}


def gap_per_method(axes: Axes, frame: pd.DataFrame, metric: str, labels: Sequence[str]) -> Axes:
    """Mean of a metric per method, single runs as ticks, and two 95 % intervals.

    Broad and faint: Student's over runs. Thin: over images, where ``frame`` knows their noise.
    """
    views = [view for view in VIEW_STYLE if view in set(frame["view"])]
    for place, label in enumerate(labels):
        runs = frame[frame["label"] == label]
        own = [view for view in views if view in set(runs["view"])]
        for number, view in enumerate(own):
            colour, marker = VIEW_STYLE[view]
            values = runs[runs["view"] == view][metric].to_numpy(float)
            y = place + (number - (len(own) - 1) / 2) * 0.26
            interval = stats.t_interval(values)
            if not np.isnan(interval.low):
                axes.plot(interval, [y, y], color=colour, lw=2.2, alpha=0.3, solid_capstyle="butt")
            noise = f"{metric}{NOISE}"
            if noise in runs:
                of_view = runs[runs["view"] == view]
                half = stats.NORMAL_95 * stats.mean(of_view[noise])
                middle = stats.mean(values)
                axes.plot([middle - half, middle + half], [y, y], color=colour, lw=0.7)
            axes.plot(values, np.full(len(values), y), "|", color=colour, ms=4, mew=0.7)
            axes.plot([stats.mean(values)], [y], marker, color=colour, ms=4, mew=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_axis_label(metric))
    axes.locator_params(axis="x", nbins=4)
    _limit_to_runs(axes, frame, metric)
    return axes


def gaps_figure(frame: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Four metrics side by side over the full width."""
    present = [label for label in labels if label in set(frame["label"])]
    height = 0.75 + 0.23 * max(3, len(present))
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(FULL_INCHES, height), sharey=True)
    for metric, panel in zip(SHOWN, axes, strict=True):
        gap_per_method(panel, frame, metric, present)
    views = [view for view in VIEW_STYLE if view in set(frame["view"])]
    if len(views) > 1:
        handles = [
            Line2D(
                [], [], color=VIEW_STYLE[v][0], marker=VIEW_STYLE[v][1], lw=0, label=VIEW_NAMES[v]
            )
            for v in views
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(views))
    return figure


def gap_over_epochs(
    axes: Axes, frame: pd.DataFrame, metric: str, colours: Mapping[str, str]
) -> Axes:
    """Mean of a metric over runs over epochs, with their range as a band; dashed: denoised.

    ``frame``: columns ``label, view, epoch, run_id`` and the metric.
    """
    for (label, view), runs in frame.groupby(["label", "view"], sort=False):
        if view not in EPOCH_LINES:
            continue
        table = runs.pivot_table(index="epoch", columns="run_id", values=metric).dropna()
        if table.empty:
            continue
        x, look = table.index.to_numpy(float), line(colours, str(label), marked=True)
        low, high = table.min(axis=1).to_numpy(float), table.max(axis=1).to_numpy(float)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.13, lw=0)
        mean = table.mean(axis=1).to_numpy(float)
        axes.plot(x, mean, EPOCH_LINES[str(view)], **look)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_axis_label(metric))
    axes.locator_params(nbins=5)
    axes.grid(axis="y")
    return axes


def gap_epochs_figure(
    frame: pd.DataFrame, metrics: Sequence[str], colours: Mapping[str, str]
) -> Figure:
    """A panel per metric over the full width."""
    labels = [str(label) for label in dict.fromkeys(frame["label"])]
    handles = [Line2D([], [], label=it, **line(colours, it, marked=True)) for it in labels]
    if "denoised" in set(frame["view"]):
        handles.append(Line2D([], [], color="black", ls="--", label="after denoising"))
    size = (FULL_INCHES, 2.23)
    figure, axes = plt.subplots(1, len(metrics), figsize=size, sharex=True)
    for metric, panel in zip(metrics, axes, strict=True):
        gap_over_epochs(panel, frame, metric, colours)
    legend(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def gap_against_accuracy(
    axes: Axes,
    points: pd.DataFrame,
    metric: str,
    colours: Mapping[str, str],
    markers: Mapping[str, str],
) -> Axes:
    """One point a run (``label``, ``accuracy``, metric), a large one per method, Spearman's rho.

    Does closing the gap buy accuracy? The correlation is over the means of the methods.
    """
    means = points.groupby("label", sort=False)[[metric, "accuracy"]].mean()
    for label, row in means.iterrows():
        runs = points[points["label"] == label]
        name = str(label)
        style: dict[str, Any] = {"color": colours[name], "marker": markers[name], "lw": 0, "mew": 0}
        axes.plot(runs[metric], runs["accuracy"], alpha=0.45, ms=3, **style)
        axes.plot([row[metric]], [row["accuracy"]], ms=5.5, label=name, **style)
    rho, p = stats.rank_correlation(means[metric].to_numpy(), means["accuracy"].to_numpy())
    if not np.isnan(rho):
        axes.set_title(
            f"ρ = {rho:.2f}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}".replace("-", "−"),
            fontweight="normal",
            fontsize=7,
        )
    axes.set_xlabel(_axis_label(metric))
    axes.locator_params(axis="x", nbins=4)
    return axes


def gap_accuracy_figure(
    points: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Figure:
    """The same four metrics against test accuracy."""
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(FULL_INCHES, 2.18), sharey=True)
    for metric, panel in zip(SHOWN, axes, strict=True):
        gap_against_accuracy(panel, points, metric, colours, markers)
        panel.grid()
    axes[0].set_ylabel("accuracy (%)")
    handles, names = axes[0].get_legend_handles_labels()
    legend(figure, handles, names)
    return figure


def _axis_label(metric: str) -> str:
    closer = "closer →" if METRICS[metric].higher_is_closer else "← closer"
    return f"{METRICS[metric].title}\n{closer}"


def _limit_to_runs(axes: Axes, frame: pd.DataFrame, metric: str) -> None:
    """Limits by the runs: a wide interval of few runs may leave the panel, the dots may not."""
    values = frame[metric].dropna().to_numpy(float)
    if not len(values):
        return
    margin = 0.25 * max(float(np.ptp(values)), 1e-6)
    axes.set_xlim(values.min() - margin, values.max() + margin)
