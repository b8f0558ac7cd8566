"""Teacher and student features in one plane, one panel per method, the same axes in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap.features import Array, class_means
from analysis.plots.style import DENOISED, FULL_INCHES, STUDENT, TEACHER

CLASSES = 10
"""Class means are drawn for so many classes at most."""


@dataclass(frozen=True)
class Cloud:
    """What one panel shows, in plane coordinates [M, 2]."""

    teacher: Array
    student: Array
    label: Array
    denoised: Array | None = None


def embedding(axes: Axes, cloud: Cloud, title: str) -> Axes:
    """Dots are images; numbers are the teacher's class means, lines lead to the student's."""
    dots: dict[str, Any] = {"s": 3, "lw": 0, "rasterized": True}
    axes.scatter(*cloud.teacher.T, color=TEACHER, alpha=0.35, **dots)
    axes.scatter(*cloud.student.T, color=STUDENT, alpha=0.35, **dots)
    if cloud.denoised is not None:
        axes.scatter(*cloud.denoised.T, color=DENOISED, alpha=0.35, **dots)
    theirs, classes = class_means(cloud.teacher, cloud.label)
    ours, _ = class_means(cloud.student, cloud.label)
    for number, start, end in list(zip(classes, theirs, ours, strict=True))[:CLASSES]:
        axes.plot(*np.stack([start, end]).T, color="black", lw=0.8, zorder=4)
        axes.plot(*end, "o", color=STUDENT, mec="white", mew=0.5, ms=4, zorder=5)
        axes.text(start[0], start[1], str(number), **NUMBER)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color("#cccccc")
    return axes


NUMBER: dict[str, Any] = {
    "fontsize": 6,
    "ha": "center",
    "va": "center",
    "zorder": 6,
    "bbox": {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "#555555", "lw": 0.6},
}


def embedding_figure(
    clouds: Mapping[str, Cloud], axis_names: Sequence[str], columns: int = 3
) -> Figure:
    """All methods over the full width; ``axis_names`` say what the two axes are."""
    columns = min(columns, len(clouds))
    rows = -(-len(clouds) // columns)
    size = (FULL_INCHES, 0.45 + 2.05 * rows)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes, (label, cloud) in zip(grid.flat, clouds.items(), strict=False):
        embedding(axes, cloud, label)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    _limit(grid.flat[0], clouds)
    figure.supxlabel(axis_names[0], fontsize=7)
    figure.supylabel(axis_names[1], fontsize=7)
    shown = [("teacher", TEACHER), ("student", STUDENT)]
    if any(cloud.denoised is not None for cloud in clouds.values()):
        shown.append(("student, denoised", DENOISED))
    handles = [Line2D([], [], color=c, marker="o", lw=0, ms=4, label=n) for n, c in shown]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def _limit(axes: Axes, clouds: Mapping[str, Cloud]) -> None:
    """Shared limits; the outermost half per cent of the dots may fall outside."""
    points = np.concatenate([part for c in clouds.values() for part in (c.teacher, c.student)])
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.08 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
