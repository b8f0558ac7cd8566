"""How angles and norms of single images are distributed, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

from analysis.feature_gap import views
from analysis.feature_gap.features import Array
from analysis.feature_gap.features import angles as angles_between
from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import window
from analysis.plots.style import FULL_INCHES, LINES, TEACHER, VIEW_LOOKS, legend, tag

LOOKS = {
    "teacher": (TEACHER, LINES[2]),
    **{view: (VIEW_LOOKS[view][0], VIEW_LOOKS[view][2]) for view in (views.STUDENT, *views.AFTER)},
}
"""Colour and line of a kind of feature."""
OVERLAP = 1.5
"""Height of the tallest ridge in rows."""


@dataclass(frozen=True)
class Ridge:
    """Values of one kind of feature for one method."""

    label: str
    values: Array
    kind: str
    """``teacher`` or a view."""


def ridges(
    axes: Axes, data: Sequence[Ridge], labels: Sequence[str], limits: tuple[float, float]
) -> Axes:
    """One row per label with the smoothed density of its values; a tick marks the median."""
    grid = np.linspace(*limits, 256)
    curves = [density(ridge.values, grid) for ridge in data]
    highest = max((float(curve.max()) for curve in curves), default=1.0)
    before = set(axes.get_children())
    for ridge, curve in zip(data, curves, strict=True):
        colour, line = LOOKS[ridge.kind]
        base = -labels.index(ridge.label)
        y = base + OVERLAP * curve / highest
        z = 2 - base
        axes.fill_between(grid, base, y, color=colour, alpha=0.25, lw=0, zorder=z)
        axes.plot(grid, y, color=colour, lw=0.9, ls=line, zorder=z)
        median = float(np.nanmedian(ridge.values))
        axes.plot([median, median], [base, base + 0.22], color=colour, lw=1.2, zorder=z + 0.5)
        tag(set(axes.get_children()) - before, ridge.label)
        before = set(axes.get_children())
    axes.set_yticks([-i for i in range(len(labels))], labels)
    axes.set_ylim(-len(labels) + 0.75, OVERLAP + 0.1)
    axes.set_xlim(limits)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return axes


def densities_figure(
    angles: Sequence[Ridge], norms: Sequence[Ridge], labels: Sequence[str]
) -> Figure:
    """Angles to the teacher at the left, norms at the right."""
    size = (FULL_INCHES, 0.75 + 0.3 * max(3, len(labels)))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, sharey=True)
    ridges(left, angles, labels, _limits(angles, lowest=0.0))
    left.set_xlabel("angle between student and teacher feature (°)")
    ridges(right, norms, labels, _limits(norms, lowest=0.0))
    right.set_xlabel("norm of the centred feature / teacher's mean norm")
    used = [kind for kind in LOOKS if any(ridge.kind == kind for ridge in (*angles, *norms))]
    handles = [Line2D([], [], color=LOOKS[kind][0], ls=LOOKS[kind][1]) for kind in used]
    names = [views.VIEWS.get(kind, kind) for kind in used]
    legend(figure, handles, names, loc="outside upper right")
    return figure


def density(values: Array, grid: Array) -> Array:
    """Gaussian kernel density on ``grid`` with Silverman's bandwidth; zero without spread."""
    known = values[~np.isnan(values)]
    if len(known) < 2 or np.ptp(known) == 0:
        return np.zeros_like(grid)
    quartiles = np.quantile(known, [0.25, 0.75])
    spread = min(float(known.std()), float(np.ptp(quartiles)) / 1.34) or float(known.std())
    width = 0.9 * spread * len(known) ** -0.2
    smooth: Array = gaussian_kde(known, width / known.std(ddof=1))(grid)
    return smooth


def _limits(data: Sequence[Ridge], lowest: float) -> tuple[float, float]:
    ends = [np.nanquantile(ridge.values, [0.002, 0.998]) for ridge in data]
    low = window([end[0] for end in ends], margin=0.0).low
    high = window([end[1] for end in ends], margin=0.0).high
    margin = 0.08 * (high - low)
    return max(lowest, float(low - margin)), float(high + margin)


def centred_norms(features: Mapping[str, Array]) -> dict[str, Array]:
    """Norms of centred features [M, D], over the mean norm of the one called ``teacher``."""
    found = {
        name: np.linalg.norm(array - array.mean(axis=0), axis=1) for name, array in features.items()
    }
    unit = float(found["teacher"].mean())
    return {name: array / unit for name, array in found.items()}


def draw(column: Column) -> Figure | None:
    """Of the first seed of every method."""
    turned: list[Ridge] = []
    sizes: list[Ridge] = []
    for label, of_label in column.views.items():
        teacher = of_label[views.STUDENT].teacher
        centred = teacher - teacher.mean(axis=0)
        for name in (views.STUDENT, *(view for view in views.AFTER if view in of_label)):
            mapped = of_label[name].mapped
            between = angles_between(mapped - mapped.mean(axis=0), centred)
            turned.append(Ridge(label, between, name))
            norms = centred_norms({"teacher": teacher, name: mapped})
            sizes.append(Ridge(label, norms[name], name))
            sizes += [Ridge(label, norms["teacher"], "teacher")] * (name == views.STUDENT)
    return densities_figure(turned, sizes, list(column.views)) if turned else None


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"angle to the teacher's feature of the same image, and norm of the centred feature: "
        f"{column.images_text()}. Curves are smoothed counts of images (Gaussian kernel), the "
        f"upright tick at the foot is the median.{column.left_out_text()}"
    )


FIGURES = (ReportFigure("densities", 90, draw, caption),)
