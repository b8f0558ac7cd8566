"""The health of a method over training: what it logs of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import FULL_INCHES, legend, line, tag

DEFINITIONS = {
    "diffusion_relative": "loss of the denoiser over that of the best guess that knows nothing of "
    "the features (below 1: something was learnt)",
    "guidance_ratio": "root mean square of what guidance adds to the predicted noise, whose own is "
    "about 1",
    "original_head_top1_percent": "accuracy of the teacher's classifier on the student's feature "
    "before denoising",
    "denoised_head_top1_percent": "the same after denoising",
    "cosine": "cosine between the pooled feature before and after denoising, mean over the batch",
    "norm_ratio": "norm of the pooled features after denoising over that before",
    "effective_dimensions": "participation ratio of the covariance of the pooled features before "
    "denoising (1: all on a line; at most the batch less one)",
    "spread": "root mean square distance of these features from their mean, per dimension",
    "hash_agreement": "share of equal bits in the hash codes of the student's and the target's "
    "feature (0.5: unrelated)",
    "code_balance": "mean of 4 p (1 - p) over the target's bits, p the share of ones (1: every bit "
    "splits the batch in halves; 0: all codes equal)",
    "gamma": "share of the student's signal that the noise adapter leaves where denoising starts",
    "snr_db": "signal to noise there, in decibels",
    "cosine_before": "cosine between student and teacher without denoising, mean over the batch",
    "cosine_after": "the same after denoising",
    "temperature": "the learned temperature of the last step",
}
"""Name of a quantity -> what it is; methods may put a word before the name (``map_gamma``)."""
PREFIX = "diagnostics/"
LOG_FROM = 1000.0
"""Largest over smallest value from which an axis is logarithmic."""


def health_figure(
    epochs: pd.DataFrame, names: Sequence[str], colours: Mapping[str, str], columns: int = 4
) -> Figure:
    """Each quantity of ``diagnostics/...`` over epochs, mean over runs with the range as a band.

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
    labels = [str(label) for label in dict.fromkeys(epochs["label"])]
    handles = [Line2D([], [], **line(colours, label)) for label in labels]
    legend(figure, handles, labels, loc="outside upper right")
    return figure


def _health(axes: Axes, epochs: pd.DataFrame, name: str, colours: Mapping[str, str]) -> None:
    for label, runs in epochs.groupby("label", sort=False):
        table = runs.pivot_table(index="epoch", columns="run_id", values=name).dropna()
        if table.empty:
            continue
        x, look = table.index.to_numpy(float), line(colours, str(label))
        low, high = table.min(axis=1).to_numpy(float), table.max(axis=1).to_numpy(float)
        band = axes.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)
        tag([band, *axes.plot(x, table.mean(axis=1).to_numpy(float), **look)], str(label))
    axes.set_title(_title(name), fontweight="normal", fontsize=7)
    axes.grid(axis="y")
    values = epochs[name].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > LOG_FROM * values.min():
        axes.set_yscale("log")
    else:
        axes.locator_params(axis="y", nbins=4)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def definition(name: str) -> str | None:
    """What a quantity is, by the longest known name that it ends with; None for one unknown."""
    known = [it for it in DEFINITIONS if name == it or name.endswith(f"_{it}")]
    return DEFINITIONS[max(known, key=len)] if known else None


def _defined(names: Sequence[str]) -> str:
    """``cosine: ...; spread: ...`` of what is drawn, in the order of the panels."""
    bare = [name.removeprefix(PREFIX) for name in names]
    texts = ((name, definition(name) or "see the method's file") for name in bare)
    return "; ".join(f"{_title(name)}: {text}" for name, text in texts)


def _title(name: str) -> str:
    return name.removeprefix(PREFIX).replace("_", " ").replace("percent", "%")


def draw(column: Column) -> Figure | None:
    """Diagnostics over epochs."""
    table = column.metrics
    names = [str(name) for name in table if str(name).startswith(PREFIX)]
    if not names or table["epoch"].nunique() < 2:
        return None
    return health_figure(table.dropna(subset=names, how="all"), names, column.colours)


def caption(column: Column) -> str:
    """For the report."""
    table = column.metrics
    names = [str(name) for name in table if str(name).startswith(PREFIX)]
    own = table.dropna(subset=names, how="all") if names else table
    return (
        f"what methods log of themselves in training, a panel for each quantity: "
        f"{column.runs_text(own)}. Lines are means over runs, bands their range; an axis over more "
        f"than three orders of magnitude is logarithmic. {_defined(names)}."
    )


FIGURES = (ReportFigure("health", 110, draw, caption),)
