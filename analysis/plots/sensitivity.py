"""Accuracy over a grid of two options."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import stats
from analysis.plots.style import COLUMN_INCHES


def sensitivity(axes: Axes, runs: pd.DataFrame, rows: str, columns: str) -> Axes:
    """Heat map of ``accuracy`` over the options ``rows`` and ``columns``: mean, ± sd, best framed.

    A cell without a run stays empty. Light is good: the palette is readable in grey.
    """
    grouped = runs.groupby([rows, columns])["accuracy"]
    means = grouped.mean().unstack()
    deviations = grouped.apply(stats.sd).unstack()
    values = means.to_numpy(float)
    image = axes.imshow(values, cmap="cividis", aspect="auto", origin="lower")
    low, high = image.get_clim()
    best = np.unravel_index(np.nanargmax(values), values.shape)
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        dark = value < (low + high) / 2
        deviation = float(deviations.to_numpy(float)[i, j])
        text = f"{value:.1f}" if np.isnan(deviation) else f"{value:.1f}\n±{deviation:.1f}"
        axes.text(
            j, i, text, ha="center", va="center", fontsize=6, linespacing=1.0,
            color="white" if dark else "black", fontweight="bold" if (i, j) == best else "normal",
        )  # fmt: skip
    axes.set_xticks(range(values.shape[1]), [_text(value) for value in means.columns])
    axes.set_yticks(range(values.shape[0]), [_text(value) for value in means.index])
    axes.set_xlabel(_name(columns))
    axes.set_ylabel(_name(rows))
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def sensitivity_figure(runs: pd.DataFrame, rows: str, columns: str, title: str) -> Figure:
    """One column wide; high enough for two lines in each cell."""
    height = 0.75 + 0.27 * runs[rows].nunique()
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, max(1.6, height)))
    sensitivity(axes, runs, rows, columns)
    axes.set_title(title)
    return figure


def _name(option: str) -> str:
    return option.removeprefix("options/").replace("_", " ")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)
