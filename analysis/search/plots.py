"""A search: its course, what mattered, and where the good settings lie. Light is good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.tri import Triangulation
from numpy.typing import ArrayLike

from analysis.plots.style import (
    COLUMN_INCHES,
    FULL_INCHES,
    End,
    colours,
    label_ends,
    line,
    tag,
)
from analysis.statistics.stats import Array
from analysis.statistics.tuning import expected_best

PALETTE = "cividis"
PRUNED, COMPLETE, BEST = "#9a9a9a", "#0072B2", "#D55E00"
BAR_INCHES = 0.2
SLICES_IN_A_ROW = 3
LEVELS = 12


def history(axes: Axes, trials: pd.DataFrame) -> Axes:
    """Accuracy of every trial in order, and the best so far; pruned ones where they stopped."""
    complete = trials[trials["state"] == "complete"]
    pruned = trials[(trials["state"] == "pruned") & trials["accuracy"].notna()]
    failed = trials[trials["state"] == "failed"]
    axes.plot(pruned["number"], pruned["accuracy"], "x", color=PRUNED, ms=3, label="pruned")
    axes.plot(complete["number"], complete["accuracy"], "o", ms=3, label="complete")
    best = complete["accuracy"].cummax()
    axes.step(complete["number"], best, where="post", color=BEST, lw=1, label="best so far")
    for number in failed["number"]:
        axes.axvline(number, color=BEST, lw=0.5, ls=":")
    axes.set_xlabel("trial")
    axes.set_ylabel("validation accuracy (%)")
    axes.legend(loc="best")
    return axes


def expected(axes: Axes, tried: Mapping[str, Array]) -> Axes:
    """Expected best accuracy against the number of random trials, a line a method.

    Named at its end: the figure must be as high as :func:`analysis.plots.style.height_for` says.
    """
    look, ends = colours(list(tried)), []
    for method, values in tried.items():
        if len(values):
            counts = np.arange(1, len(values) + 1)
            best = expected_best(values, counts)
            tag(axes.plot(counts, best, lw=1, **line(look, method)), method)
            ends.append(End(method, float(best[-1]), look[method]))
    axes.set_xlabel("trials")
    axes.set_ylabel("expected best validation\naccuracy (%)")
    axes.set_ylim(axes.get_ylim())
    label_ends(axes, ends)
    return axes


def intermediate(
    axes: Axes, curves: Mapping[int, Mapping[int, float]], pruned: set[int], best: int | None
) -> Axes:
    """Accuracy over the steps of every trial; the best one and the pruned ones stand out."""
    for number, curve in curves.items():
        steps = list(curve)
        colour = BEST if number == best else PRUNED if number in pruned else COMPLETE
        width, above = (1.4, 3) if number == best else (0.7, 2)
        axes.plot(steps, list(curve.values()), color=colour, lw=width, zorder=above)
        if number in pruned and steps:
            axes.plot(steps[-1], curve[steps[-1]], "x", color=PRUNED, ms=3)
    axes.set_ylabel("validation accuracy (%)")
    return axes


def importances(axes: Axes, shares: Mapping[str, float]) -> Axes:
    """Share of variance per parameter, largest on top."""
    names, values = list(shares)[::-1], list(shares.values())[::-1]
    axes.barh([label(name) for name in names], values, height=0.6)
    for place, value in enumerate(values):
        axes.text(value, place, f" {value:.2f}", va="center", fontsize=7)
    axes.set_xlim(0, max(1e-9, *values) * 1.18)
    axes.set_xlabel("share of the variance of accuracy")
    axes.tick_params(axis="y", length=0)
    return axes


def one_slice(axes: Axes, trials: pd.DataFrame, param: str, *, log: bool) -> Axes:
    """Accuracy against one parameter; colour is the order of the trials."""
    complete = trials[trials["state"] == "complete"]
    x = complete[param] if pd.api.types.is_numeric_dtype(complete[param]) else None
    places = complete[param].astype(str) if x is None else x
    axes.scatter(places, complete["accuracy"], c=complete["number"], cmap=PALETTE, s=9)
    if log:
        _log_scale(axes.xaxis, axes.set_xscale)
    axes.set_xlabel(label(param))
    return axes


def contour(axes: Axes, trials: pd.DataFrame, params: tuple[str, str], log: set[str]) -> Axes:
    """Accuracy over two numbers, linear between complete trials; every one of them is a dot."""
    x, y = params
    complete = trials[trials["state"] == "complete"]
    points = complete.groupby([x, y], as_index=False)["accuracy"].mean()
    across = np.log10(points[x]) if x in log else points[x]
    up = np.log10(points[y]) if y in log else points[y]
    triangles = Triangulation(_unit(across), _unit(up))  # in the scale of the picture
    shown = Triangulation(points[x], points[y], triangles.triangles)
    filled = axes.tricontourf(shown, points["accuracy"], levels=LEVELS, cmap=PALETTE)
    whole: dict[str, Any] = {"clip_on": False, "zorder": 3}  # the outer ones lie on the frame
    axes.plot(points[x], points[y], "o", color="white", mec="black", mew=0.5, ms=3, **whole)
    best = points.loc[points["accuracy"].idxmax()]
    axes.plot(best[x], best[y], "*", color=BEST, mec="white", mew=0.5, ms=9, **whole)
    if x in log:
        _log_scale(axes.xaxis, axes.set_xscale)
    if y in log:
        _log_scale(axes.yaxis, axes.set_yscale)
    axes.set_xlabel(label(x))
    axes.set_ylabel(label(y))
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.colorbar(filled, ax=axes, label="validation accuracy (%)")
    return axes


def parallel(axes: Axes, trials: pd.DataFrame, params: Sequence[str], log: set[str]) -> Axes:
    """A line per complete trial through all its parameters; the better, the lighter and later."""
    complete = trials[trials["state"] == "complete"].sort_values("accuracy")
    columns = {name: _places(complete[name], name in log) for name in params}
    shades = plt.get_cmap(PALETTE)(_unit(complete["accuracy"]))
    for row, shade in enumerate(shades):
        places = [float(columns[name].iloc[row]) for name in params]
        last = row == len(shades) - 1
        axes.plot(places, color=BEST if last else shade, lw=1.6 if last else 0.7, alpha=0.9)
    for place, name in enumerate(params):
        axes.axvline(place, color="black", lw=0.6)
        ends = _ends(complete[name])
        axes.text(place, -0.04, ends[0], ha="center", va="top", fontsize=6)
        axes.text(place, 1.04, ends[1], ha="center", va="bottom", fontsize=6)
    axes.set_xticks(range(len(params)), [label(name) for name in params], rotation=20, ha="right")
    axes.tick_params(length=0, pad=9)
    axes.set_title(axes.get_title("left"), pad=14)
    axes.set_yticks([])
    axes.set_ylim(-0.02, 1.02)
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def pareto(axes: Axes, trials: pd.DataFrame, front: Sequence[int]) -> Axes:
    """Accuracy against the second objective; the front is what nothing else beats in both."""
    complete = trials[trials["state"] == "complete"]
    best = complete[complete["number"].isin(front)].sort_values("second")
    axes.plot(complete["second"], complete["accuracy"], "o", color=PRUNED, ms=3, label="dominated")
    axes.plot(best["second"], best["accuracy"], "o-", color=BEST, ms=4, lw=0.8, label="front")
    for number, x, y in best[["number", "second", "accuracy"]].itertuples(index=False):
        axes.annotate(f"{number}", (x, y), xytext=(3, -7), textcoords="offset points", fontsize=6)
    axes.set_xlabel("seconds per step")
    axes.set_ylabel("validation accuracy (%)")
    axes.legend(loc="lower right")
    return axes


def one_axes(title: str, inches: tuple[float, float] = (COLUMN_INCHES, 2.4)) -> tuple[Figure, Axes]:
    """A figure of one column."""
    figure, axes = plt.subplots(figsize=inches)
    axes.set_title(title)
    return figure, axes


def slices_figure(trials: pd.DataFrame, params: Sequence[str], log: set[str], title: str) -> Figure:
    """Every parameter in a panel of its own, the accuracy shared."""
    across = min(SLICES_IN_A_ROW, len(params))
    down = -(-len(params) // across)
    figure, grid = plt.subplots(
        down, across, figsize=(FULL_INCHES * across / 3, 0.3 + 1.7 * down), sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axes, param in zip(grid.flat, params, strict=False):
        one_slice(axes, trials, param, log=param in log)
    for axes in list(grid.flat)[len(params) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("validation accuracy (%)")
    figure.suptitle(title, fontsize=8, x=0.01, ha="left")
    return figure


def label(param: str) -> str:
    """A parameter's name as text."""
    return param.replace("_", " ")


def _log_scale(axis: Axis, set_scale: Callable[[str], object]) -> None:
    """Powers of ten and, where those are few, 2 and 5 times them, as plain numbers."""
    set_scale("log")
    low, high = axis.get_view_interval()
    few = math.log10(high / low) < 2.5
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _unit(values: ArrayLike) -> np.ndarray:
    """Scaled to 0..1; 0.5 where all are equal."""
    numbers = np.asarray(values, float)
    span = np.ptp(numbers)
    return (numbers - numbers.min()) / span if span > 0 else np.full(len(numbers), 0.5)


def _places(values: pd.Series, log: bool) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = np.log(values.astype(float)) if log else values.astype(float)
    else:
        order = {value: place for place, value in enumerate(sorted(values.astype(str).unique()))}
        numbers = values.astype(str).map(order).astype(float)
    return pd.Series(_unit(numbers), index=values.index)


def _ends(values: pd.Series) -> tuple[str, str]:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return f"{values.min():.4g}", f"{values.max():.4g}"
    texts = sorted(values.astype(str).unique())
    return texts[0], texts[-1]
