"""Over all pairs: average ranks with what is not told apart, and performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import COLUMN_INCHES, FULL_INCHES, tag
from analysis.runs.over_pairs import complete_means, gains_of_runs
from analysis.statistics import stats
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


MOST = 24
"""Methods at most."""


def draw(column: Column) -> Figure | None:
    """Over all columns, one block each."""
    means = complete_means(column.grid)
    if not 3 <= means.shape[1] <= MOST or len(means) < 2:
        return None
    return rank_figure(stats.average_ranks(means.to_numpy()), list(map(str, means)), column.colours)


def caption(column: Column) -> str:
    """For the report."""
    means = complete_means(column.grid)
    return (
        f"Average rank over {len(means)} columns of the accuracy table (1 is best), by the mean of "
        "each over its runs; a bar joins methods whose ranks differ by less than the critical "
        "difference (Nemenyi, 5 %). Methods that lack runs of a column are left out."
    )


def draw_profile(column: Column) -> Figure | None:
    """Share of the runs of all columns whose gain is above what the axis says."""
    grid = column.grid
    base, gains = gains_of_runs(grid)
    if len(grid.columns) < 2 or base is None or len(gains) < 2:
        return None
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, 2.3))
    values = np.concatenate([stats.present(it) for it in gains.values()])
    points = np.linspace(values.min(), values.max(), 101)
    for number, (label, scores) in enumerate(gains.items()):
        rng = np.random.default_rng(number)
        shares, low, high = stats.performance_profile(scores, points, rng)
        colour = column.colours[label]
        tag(axes.plot(points, 100 * shares, color=colour, lw=1.0, label=label), label)
        axes.fill_between(points, 100 * low, 100 * high, color=colour, alpha=0.12, lw=0)
    axes.set_xlabel(f"gain over {base} (points)")
    axes.set_ylabel("runs above (%)")
    axes.legend(fontsize=6, frameon=False)
    return figure


def caption_of_profile(column: Column) -> str:
    """For the report."""
    base, _ = gains_of_runs(column.grid)
    return (
        f"Performance profiles (Agarwal et al. 2021): share of the runs of all "
        f"{len(column.grid.columns)} columns whose gain over the mean of {base} in their column is "
        "above the axis; bands: 95 % by the stratified bootstrap, each point alone."
    )


FIGURES = (
    ReportFigure("ranks", 200, draw, caption, of_all=True),
    ReportFigure("profiles", 201, draw_profile, caption_of_profile, of_all=True),
)
