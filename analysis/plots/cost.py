"""What accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.plots.style import COLUMN_INCHES, height_for, label_ends


def cost_against_accuracy(
    axes: Axes, runs: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Axes:
    """Training time (log) against accuracy: ``label, train_seconds, accuracy``, a row per run.

    Large marks are means of a method; thin lines lead to the names at the right.
    """
    ends = []
    right = float(runs["train_seconds"].max())
    left = float(runs["train_seconds"].min())
    axes.set_xscale("log")
    axes.set_xlim(left / 1.25, right * 1.25)
    for name, of_method in runs.groupby("label", sort=False):
        label = str(name)
        x, y = of_method["train_seconds"], of_method["accuracy"]
        axes.plot(x, y, markers[label], color=colours[label], alpha=0.4, ms=3, mew=0)
        mean = float(np.exp(np.log(x).mean())), float(y.mean())
        axes.plot(*mean, markers[label], color=colours[label], ms=5.5, mew=0)
        axes.plot([mean[0], right * 1.25], [mean[1]] * 2, color=colours[label], lw=0.4, alpha=0.5)
        ends.append((label, mean[1], colours[label]))
    low, high = axes.get_ylim()
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    label_ends(axes, ends)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = nice_seconds(left / 1.25, right * 1.25)
    axes.set_xticks(ticks)
    axes.minorticks_off()
    packed = "packed" in runs and bool((runs["packed"] > 1).any())
    axes.set_xlabel(f"training time of one student{' (share of its pack)' if packed else ''}")
    axes.set_ylabel("accuracy (%)")
    return axes


def cost_figure(
    runs: pd.DataFrame, title: str, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Figure:
    """One column wide."""
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, height_for(runs["label"].nunique(), 2.3)))
    cost_against_accuracy(axes, runs, colours, markers)
    axes.set_title(title)
    axes.grid(axis="y")
    return figure


STEPS = (
    *(m * 10.0**e for e in (-1, 0) for m in (1, 2, 5)),
    *(10.0, 15.0, 20.0, 30.0, 40.0),
    *(60.0 * m for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40)),
    *(3600.0 * h for h in (1, 1.5, 2, 3, 4, 6, 8, 10, 15, 24, 36, 48, 72, 120, 240)),
)
"""Durations people think in, in seconds."""
MOST_TICKS = 4  # beside the names, an axis is half a column wide


def nice_seconds(low: float, high: float) -> list[float]:
    """Some of :data:`STEPS` within the limits, far enough apart on a logarithmic axis to be read.

    The limits themselves if there is none.
    """
    chosen: list[float] = []
    least = (high / low) ** (1 / MOST_TICKS)
    for step in (step for step in STEPS if low <= step <= high):
        if not chosen or step / chosen[-1] >= least:
            chosen.append(step)
    return chosen or [low, high]


def seconds_text(seconds: float) -> str:
    """``20 s``, ``5 min``, ``2 h``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"
