"""Critical-difference diagram: average ranks, and which methods are not told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.style import COLUMN_INCHES, FULL_INCHES
from analysis.statistics.stats import Array, Ranks

NARROW = 10
"""So many methods fit into one column."""


def critical_difference(
    axes: Axes, ranks: Ranks, labels: Sequence[str], colours: Mapping[str, str]
) -> Axes:
    """Methods on a scale of ranks (1 best, left); a bar joins those within the critical difference.

    After Demsar 2006, Sec. 3.2.4.
    """
    order = np.argsort(ranks.average, kind="stable")
    values = ranks.average[order]
    names = [labels[i] for i in order]
    count = len(names)
    half = (count + 1) // 2
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        on_left = place < half
        y = (
            -1.0
            - 0.62 * (place if on_left else count - 1 - place)
            - 0.45 * len(groups(values, ranks.critical_difference))
        )
        x_end = 1 - 0.05 * (count - 1) if on_left else count + 0.05 * (count - 1)
        axes.plot([value, value, x_end], [0, y, y], color=colours[name], lw=1.0)
        text = f"{name}  {value:.2f}" if on_left else f"{value:.2f}  {name}"
        side = "right" if on_left else "left"
        x_text = x_end + (-0.016 if on_left else 0.016) * (count - 1)
        axes.text(x_text, y, text, ha=side, va="center", fontsize=7, color=colours[name])
    for number, (first, last) in enumerate(groups(values, ranks.critical_difference)):
        y = -0.45 - 0.45 * number
        axes.plot([values[first] - 0.04, values[last] + 0.04], [y, y], color="black", lw=2.4)
    _scale(axes, count, ranks.critical_difference)
    return axes


def rank_figure(ranks: Ranks, labels: Sequence[str], colours: Mapping[str, str]) -> Figure:
    """One column wide (both for many methods), as high as the number of methods needs."""
    bars = len(groups(np.sort(ranks.average), ranks.critical_difference))
    height = 0.75 + 0.15 * ((len(labels) + 1) // 2) + 0.1 * bars
    width = COLUMN_INCHES if len(labels) <= NARROW else FULL_INCHES
    figure, axes = plt.subplots(figsize=(width, height))
    critical_difference(axes, ranks, labels, colours)
    return figure


def groups(sorted_ranks: Array, difference: float) -> list[tuple[int, int]]:
    """Longest runs (first, last) of at least two ranks that lie within ``difference``."""
    found: list[tuple[int, int]] = []
    for first, low in enumerate(sorted_ranks):
        last = max(i for i, value in enumerate(sorted_ranks) if value - low <= difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _scale(axes: Axes, count: int, difference: float) -> None:
    axes.plot([1, count], [0, 0], color="black", lw=0.8)
    for rank in range(1, count + 1, 1 + count // 16):
        axes.plot([rank, rank], [0, 0.16], color="black", lw=0.8)
        axes.text(rank, 0.3, str(rank), ha="center", va="bottom", fontsize=7)
    if difference < count - 1:
        axes.plot([1, 1 + difference], [1.35, 1.35], color="black", lw=0.8)
        for x in (1, 1 + difference):
            axes.plot([x, x], [1.25, 1.45], color="black", lw=0.8)
        text = f"critical difference {difference:.2f}"
        axes.text(1 + difference + 0.1, 1.35, text, ha="left", va="center", fontsize=7)
    axes.set_axis_off()
    axes.set_xlim(1 - 0.32 * (count - 1), count + 0.32 * (count - 1))
