"""Accuracy over a grid of two options."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import COLUMN_INCHES, titled
from analysis.runs import variants
from analysis.statistics import stats


def sensitivity(axes: Axes, runs: pd.DataFrame, rows: str, columns: str) -> Axes:
    """Heat map of ``accuracy`` over the options ``rows`` and ``columns``: mean, ± sd, best bold.

    A run without result has no ``accuracy`` but a ``state``: a cell with such a run is hatched and
    says how many of its runs count. Light is good: the palette is readable in grey.
    """
    grouped = runs.groupby([rows, columns])
    means = grouped["accuracy"].mean().unstack()
    values = means.to_numpy(float)
    image = axes.imshow(values, cmap="cividis", aspect="auto", origin="lower")
    low, high = image.get_clim()
    complete = (grouped["accuracy"].count() == grouped.size()).unstack(fill_value=False)
    competing = np.where(complete.to_numpy(bool), values, -np.inf)
    best = int(np.argmax(competing))
    for i, row in enumerate(means.index):
        for j, column in enumerate(means.columns):
            if (row, column) not in grouped.groups:
                _hatch(axes, i, j)
                continue
            own, value = grouped.get_group((row, column)), values[i, j]
            if not complete.to_numpy(bool)[i, j]:
                _hatch(axes, i, j)
            light = np.isnan(value) or value >= (low + high) / 2
            axes.text(
                j, i, _cell_text(own), ha="center", va="center", fontsize=6, linespacing=1.0,
                color="black" if light else "white",
                fontweight="bold" if i * values.shape[1] + j == best else "normal",
            )  # fmt: skip
    axes.set_xticks(range(values.shape[1]), [_text(value) for value in means.columns])
    axes.set_yticks(range(values.shape[0]), [_text(value) for value in means.index])
    axes.set_xlabel(_name(columns))
    axes.set_ylabel(_name(rows))
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def _cell_text(runs: pd.DataFrame) -> str:
    """``91.2``, ``±0.4`` and, where some lack, ``2/3 runs``; the states where all do."""
    scores = stats.present(runs["accuracy"])
    if not len(scores):
        return "\n".join(dict.fromkeys(runs["state"]))
    spread = stats.sd(scores)
    if len(scores) < len(runs):
        return f"{scores.mean():.1f}\n{len(scores)}/{len(runs)} runs"
    return f"{scores.mean():.1f}" + ("" if np.isnan(spread) else f"\n±{spread:.1f}")


def _hatch(axes: Axes, row: int, column: int) -> None:
    box = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", ec="#bbbbbb", lw=0)
    axes.add_patch(box)


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


def draw(column: Column) -> Figure | None:
    """Of the first method whose runs form a grid of two options."""
    if column.finished.empty:
        return None
    for method in dict.fromkeys(column.students["method"]):
        own = column.students[column.students["method"] == method]
        options = variants.grid_options(own)
        if options is not None:
            title = titled(f"{method}, {column.networks}")
            return sensitivity_figure(column.with_accuracy(own), *options, title)
    return None


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"accuracy on the {column.split} split over two options of a method, mean ± standard "
        "deviation over seeds; bold: the highest mean of those whose runs are all finished; "
        "hatched: runs are missing."
    )


FIGURES = (ReportFigure("sensitivity", 30, draw, caption),)
