"""Teacher and student features in one plane, one panel per method, the same axes in all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap import views
from analysis.feature_gap.embed import pca_plane, tsne
from analysis.feature_gap.features import Array, class_means
from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import FULL_INCHES, STUDENT, TEACHER, VIEW_LOOKS, legend, tag

TSNE_SEED = 0
CLASSES = 10
"""Class means are drawn for so many classes at most."""


@dataclass(frozen=True)
class Cloud:
    """What one panel shows, in plane coordinates [M, 2]."""

    teacher: Array
    student: Array
    label: Array
    after: Mapping[str, Array] = field(default_factory=dict)
    """Denoised features, by view."""


def embedding(axes: Axes, cloud: Cloud, title: str) -> Axes:
    """Dots are images; numbers are the teacher's class means, lines lead to the student's."""
    dots: dict[str, Any] = {"s": 3, "lw": 0, "rasterized": True}
    axes.scatter(*cloud.teacher.T, color=TEACHER, alpha=0.35, **dots)
    axes.scatter(*cloud.student.T, color=STUDENT, alpha=0.35, **dots)
    for view, points in cloud.after.items():
        axes.scatter(*points.T, color=VIEW_LOOKS[view][0], alpha=0.3, **dots)
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
        tag([axes], label)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    _limit(grid.flat[0], clouds)
    figure.supxlabel(axis_names[0], fontsize=7)
    figure.supylabel(axis_names[1], fontsize=7)
    shown = {"teacher": TEACHER, "student": STUDENT}
    after = dict.fromkeys(view for cloud in clouds.values() for view in cloud.after)
    shown |= {views.VIEWS[view]: VIEW_LOOKS[view][0] for view in after}
    handles = [Line2D([], [], color=colour, marker="o", lw=0, ms=4) for colour in shown.values()]
    legend(figure, handles, list(shown), loc="outside upper right")
    return figure


def _limit(axes: Axes, clouds: Mapping[str, Cloud]) -> None:
    """Shared limits; the outermost half per cent of the dots may fall outside."""
    points = np.concatenate([part for c in clouds.values() for part in (c.teacher, c.student)])
    low, high = np.quantile(points, [0.005, 0.995], axis=0)
    margin = 0.08 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])


def draw_plane(column: Column) -> Figure | None:
    """In the plane of the first teacher's features; one finished run per method."""
    if not column.views:
        return None
    plane = pca_plane(next(iter(column.views.values()))[views.STUDENT].teacher)
    clouds = {label: _cloud(of_label, plane) for label, of_label in column.views.items()}
    names = [
        f"teacher's principal axis {number + 1} ({share:.0%} of its variance)"
        for number, share in enumerate(plane.explained)
    ]
    return embedding_figure(clouds, names)


def _cloud(of_label: Mapping[str, views.View], place: Callable[[Array], Array]) -> Cloud:
    student = of_label[views.STUDENT]
    after = {name: place(of_label[name].mapped) for name in views.AFTER if name in of_label}
    return Cloud(place(student.teacher), place(student.mapped), student.label.astype(int), after)


def draw_tsne(column: Column) -> Figure | None:
    """One joint t-SNE of the teacher and all students."""
    if not column.with_tsne or not column.views:
        return None
    groups = {"teacher": next(iter(column.views.values()))[views.STUDENT].teacher}
    for label, of_label in column.views.items():
        groups |= {f"{label}|{name}": view.mapped for name, view in of_label.items()}
    placed = tsne(groups, TSNE_SEED)
    clouds = {
        label: Cloud(
            placed["teacher"],
            placed[f"{label}|{views.STUDENT}"],
            of_label[views.STUDENT].label.astype(int),
            {it: placed[f"{label}|{it}"] for it in views.AFTER if it in of_label},
        )
        for label, of_label in column.views.items()
    }
    return embedding_figure(clouds, ["t-SNE axis 1", "t-SNE axis 2"])


def caption_plane(column: Column) -> str:
    """For the report."""
    return (
        f"{column.images_text()}, in the plane of the teacher's two principal axes; the student's "
        f"features reach it through the best linear map from training images. {_numbers(column)}"
    )


def caption_tsne(column: Column) -> str:
    """For the report."""
    return (
        f"joint t-SNE of teacher and student features of all methods: {column.images_text()}; "
        "the student's through the best linear map from training images. Distances between far "
        f"groups mean nothing. {_numbers(column)}"
    )


def _numbers(column: Column) -> str:
    labels = [of_label[views.STUDENT].label for of_label in column.views.values()]
    classes = np.unique(labels[0]).astype(int)
    named = ", ".join(map(str, classes[:CLASSES]))
    some = (
        "all classes"
        if len(classes) <= CLASSES
        else f"{CLASSES} of {len(classes)} classes ({named})"
    )
    return (
        f"Dots are images, of all classes. Numbers are the teacher's means of {some}; lines lead "
        "to the student's. The outermost 0.5 % of the dots may lie outside."
        f"{column.left_out_text()}"
    )


FIGURES = (
    ReportFigure("embedding", 80, draw_plane, caption_plane),
    ReportFigure("tsne", 81, draw_tsne, caption_tsne),
)
