"""Accuracy over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import COLUMN_INCHES, TEACHER, height_for, label_ends, line


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
    ends, shown = [], names or {}
    for label in labels:
        runs = epochs[epochs["label"] == label]
        table = runs.pivot_table(index="epoch", columns="run_id", values=metric).dropna()
        if table.empty:
            continue
        x, mean = table.index.to_numpy(float), table.mean(axis=1).to_numpy(float)
        axes.plot(x, mean, zorder=3, **line(colours, label))
        if table.shape[1] > 1:
            sd = table.std(axis=1).to_numpy(float)
            axes.fill_between(x, mean - sd, mean + sd, color=colours[label], alpha=0.14, lw=0)
        ends.append((shown.get(label, label), float(mean[-1]), colours[label]))
    if not ends:
        return axes
    floor = _floor([end[1] for end in ends])
    inside = [end[1] for end in ends if end[1] >= floor]
    low, high = _window(inside, epochs[metric], teacher)
    axes.set_ylim(low, high)
    ends = [it if it[1] >= floor else (f"↓ {it[0]} {it[1]:.1f}", low, it[2]) for it in ends]
    if teacher is not None and teacher <= high:
        axes.axhline(teacher, color=TEACHER, ls=(0, (4, 2)), lw=0.9, zorder=1)
        ends.append(("teacher", teacher, TEACHER))
    elif teacher is not None:
        ends.append((f"↑ teacher {teacher:.1f}", high, TEACHER))
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


def _window(ends: Sequence[float], values: pd.Series, teacher: float | None) -> tuple[float, float]:
    """Limits that show the differences at the end: the start of training may be cut off.

    A teacher far above its students stays outside too.
    """
    low, high = min(ends), max(ends)
    reach = max(high - low, 1.0)
    if teacher is not None and teacher - high < max(5.0, 2 * reach):
        high = max(high, teacher)
        reach = max(high - low, 1.0)
    low = max(low - 0.6 * reach, float(values.min()))
    margin = 0.05 * (high - low)
    return low - margin, min(100.5, high + margin)
