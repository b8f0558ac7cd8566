"""What denoising does, step by step, and the health of a method over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.feature_gap.features import Array
from analysis.plots.style import COLUMN_INCHES, FULL_INCHES, height_for, label_ends, legend, line


def denoising_trajectory(
    axes: Axes, surprise: Mapping[str, Array], colours: Mapping[str, str]
) -> Axes:
    """Probability that the teacher's head gives the label, at each sampling step.

    ``surprise``: label -> negative log-likelihoods in nats [M images, steps + 1], from the noised
    feature (step 0) to the denoised one. Mean over images; the band holds the middle half of them.
    """
    ends = []
    for label, nats in surprise.items():
        probability = np.exp(-nats)
        steps = np.arange(probability.shape[1])
        low, high = np.quantile(probability, [0.25, 0.75], axis=0)
        axes.fill_between(steps, low, high, color=colours[label], alpha=0.15, lw=0)
        mean = probability.mean(axis=0)
        axes.plot(steps, mean, **line(colours, label, marked=True))
        ends.append((label, float(mean[-1]), colours[label]))
    _scale_steps(axes, max(nats.shape[1] for nats in surprise.values()))
    axes.set_ylim(-0.02, 1.02)
    if len(ends) > 1:
        label_ends(axes, ends)
    axes.set_ylabel("teacher head's p(label)")
    return axes


def trajectory_distance(
    axes: Axes, distances: Mapping[str, Array], colours: Mapping[str, str]
) -> Axes:
    """Distance to the teacher's features after each sampling step: label -> [steps + 1]."""
    for label, values in distances.items():
        axes.plot(range(len(values)), values, **line(colours, label, marked=True))
    _scale_steps(axes, max(map(len, distances.values())))
    label_ends(axes, [(label, float(it[-1]), colours[label]) for label, it in distances.items()])
    axes.set_ylabel("Fréchet distance\n← closer")
    return axes


def trajectory_figure(
    surprise: Mapping[str, Array],
    distances: Mapping[str, Array],
    title: str,
    colours: Mapping[str, str],
) -> Figure:
    """The probability at the left; the distance at the right, where there is one."""
    panels = 1 + bool(distances)
    size = (FULL_INCHES if panels > 1 else COLUMN_INCHES, height_for(len(surprise), 2.1))
    figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False)
    denoising_trajectory(axes[0, 0], surprise, colours)
    if distances:
        trajectory_distance(axes[0, 1], distances, colours)
    axes[0, 0].set_title(title)
    for panel in axes.flat:
        panel.grid(axis="y")
    return figure


def _scale_steps(axes: Axes, count: int) -> None:
    axes.set_xlim(-0.1, count - 0.9)
    axes.set_xticks(range(0, count, max(1, (count - 1) // 8)))
    axes.set_xlabel("sampling step (0: noised, last: denoised)")


LOG_FROM = 1000.0
"""Largest over smallest value from which an axis is logarithmic."""


def health_figure(
    epochs: pd.DataFrame, names: Sequence[str], colours: Mapping[str, str], columns: int = 4
) -> Figure:
    """Each figure of ``diagnostics/...`` over epochs, mean over runs with the range as a band.

    ``epochs``: columns ``label, run_id, epoch`` and ``names``.
    """
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    size = (FULL_INCHES, 0.55 + 1.15 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharex=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        _health(axes, epochs, name, colours)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid.flat[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
    grid[0, 0].set_xlim(epochs["epoch"].min(), epochs["epoch"].max())
    figure.supxlabel("epoch", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if labels:
        legend(figure, handles, labels, loc="outside upper right")
    return figure


def _health(axes: Axes, epochs: pd.DataFrame, name: str, colours: Mapping[str, str]) -> None:
    for label, runs in epochs.groupby("label", sort=False):
        table = runs.pivot_table(index="epoch", columns="run_id", values=name).dropna()
        if table.empty:
            continue
        x, look = table.index.to_numpy(float), line(colours, str(label))
        low, high = table.min(axis=1).to_numpy(float), table.max(axis=1).to_numpy(float)
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)
        axes.plot(x, table.mean(axis=1).to_numpy(float), label=str(label), **look)
    title = name.removeprefix("diagnostics/").replace("_", " ").replace("percent", "%")
    axes.set_title(title, fontweight="normal", fontsize=7)
    axes.grid(axis="y")
    values = epochs[name].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > LOG_FROM * values.min():
        axes.set_yscale("log")
    else:
        axes.locator_params(axis="y", nbins=4)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
