"""What accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import arrow_at_edge, window
from analysis.plots.style import COLUMN_INCHES, End, height_for, label_ends, tag, titled
from analysis.runs import cost as costs
from analysis.tables.cost import ALONE_TIME, SHARED_TIME

MARKS = 600
"""Single runs of a column that are drawn, at most: more marks hide each other."""


def cost_against_accuracy(
    axes: Axes, runs: pd.DataFrame, colours: Mapping[str, str], markers: Mapping[str, str]
) -> Axes:
    """Training time (log) against accuracy: ``label, seconds, shared, accuracy``, a row per run.

    Large marks are means of a method; thin lines lead to the names at the right. A method whose
    time is the share of a pack says so where that of others is not.
    """
    ends = []
    right = float(runs["seconds"].max()) * 1.25
    left = float(runs["seconds"].min()) / 1.25
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    limits = window(runs.groupby("label")["accuracy"].mean(), runs["accuracy"])
    axes.set_ylim(limits)
    for name, of_method in runs.groupby("label", sort=False):
        label = str(name)
        look: dict[str, Any] = {"color": colours[label]}
        for _, run in of_method.head(most_marks(runs)).iterrows():
            place = run["seconds"], run["accuracy"]
            tag(axes.plot(*place, markers[label], alpha=0.4, ms=3, mew=0, **look), label, run)
        x, y = (
            float(np.exp(np.log(of_method["seconds"]).mean())),
            float(of_method["accuracy"].mean()),
        )
        marks = arrow_at_edge(axes, x, y, limits, look, upright=True)
        inside = limits.clip(y)
        if not marks:
            marks = axes.plot(x, y, markers[label], ms=5.5, mew=0, **look)
        marks += axes.plot([x, right], [inside] * 2, lw=0.4, alpha=0.5, **look)
        tag(marks, label)
        mixed = of_method["shared"].any() and not runs["shared"].all()
        text = f"{label} (shared)" if mixed else label
        ends.append(End(text, inside, colours[label], label))
    label_ends(axes, ends)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    ticks = nice_seconds(left, right)
    axes.set_xticks(ticks)
    axes.minorticks_off()
    share = " (shared)" if runs["shared"].all() else ""
    axes.set_xlabel(f"training time of one student{share}")
    axes.set_ylabel("accuracy (%)")
    return axes


def most_marks(runs: pd.DataFrame) -> int:
    """How many runs of each method have a mark of their own."""
    return max(1, MARKS // runs["label"].nunique())


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


def draw(column: Column) -> Figure | None:
    """Two methods or more whose time is known."""
    runs = column.with_accuracy(column.finished)
    runs = runs.assign(seconds=costs.seconds_of(runs), shared=costs.shared(runs))
    runs = runs[(runs["seconds"] > 0) & runs["accuracy"].notna()]
    if runs["label"].nunique() < 2:
        return None
    return cost_figure(runs, titled(column.networks), column.colours, column.markers)


def caption(column: Column) -> str:
    """For the report."""
    done = column.finished
    shared = f" {SHARED_TIME}" if costs.shared(done).any() else ""
    if costs.SECONDS in done and done[costs.SECONDS].notna().any():
        shared = f" {ALONE_TIME}{shared}"
    most = most_marks(column.finished)
    if column.finished.groupby("label").size().max() > most:
        shared = f" Of each method the first {most} runs are drawn; the means are of all.{shared}"
    return (
        f"accuracy on the {column.split} split against the time that one student takes to train: "
        f"{column.runs_text(column.finished)}. Large marks are means of a method (geometric in "
        f"time), small ones single runs, an arrow with its value is a mean far below.{shared}"
    )


FIGURES = (ReportFigure("cost", 20, draw, caption),)
