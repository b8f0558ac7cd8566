"""How angles and norms of single images are distributed, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.feature_gap.features import Array
from analysis.plots.style import DENOISED, FULL_INCHES, STUDENT, TEACHER

OVERLAP = 1.5
"""Height of the tallest ridge in rows."""


@dataclass(frozen=True)
class Ridge:
    """Values of one kind of feature for one method."""

    label: str
    values: Array
    colour: str


def ridges(
    axes: Axes, data: Sequence[Ridge], labels: Sequence[str], limits: tuple[float, float]
) -> Axes:
    """One row per label with the smoothed density of its values; a tick marks the median."""
    grid = np.linspace(*limits, 256)
    curves = [density(ridge.values, grid) for ridge in data]
    highest = max((float(curve.max()) for curve in curves), default=1.0)
    for ridge, curve in zip(data, curves, strict=True):
        base = -labels.index(ridge.label)
        y = base + OVERLAP * curve / highest
        z = 2 - base
        axes.fill_between(grid, base, y, color=ridge.colour, alpha=0.3, lw=0, zorder=z)
        axes.plot(grid, y, color=ridge.colour, lw=0.9, zorder=z)
        median = float(np.nanmedian(ridge.values))
        axes.plot([median, median], [base, base + 0.22], color=ridge.colour, lw=1.2, zorder=z + 0.5)
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
    shown = {"teacher": TEACHER, "student": STUDENT, "after denoising": DENOISED}
    used = {ridge.colour for ridge in (*angles, *norms)}
    handles = [
        Line2D([], [], color=colour, lw=3, alpha=0.6, label=name)
        for name, colour in shown.items()
        if colour in used
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
    return figure


def density(values: Array, grid: Array) -> Array:
    """Gaussian kernel density on ``grid`` with Silverman's bandwidth; zero without spread."""
    there = values[~np.isnan(values)]
    if len(there) < 2 or np.ptp(there) == 0:
        return np.zeros_like(grid)
    quartiles = np.quantile(there, [0.25, 0.75])
    spread = min(float(there.std()), float(np.ptp(quartiles)) / 1.34) or float(there.std())
    width = 0.9 * spread * len(there) ** -0.2
    kernel = np.exp(-0.5 * ((grid[:, None] - there[None, :]) / width) ** 2)
    found: Array = kernel.mean(axis=1) / (width * np.sqrt(2 * np.pi))
    return found


def _limits(data: Sequence[Ridge], lowest: float) -> tuple[float, float]:
    values = np.concatenate([ridge.values for ridge in data])
    low, high = np.nanquantile(values, [0.002, 0.998])
    margin = 0.08 * (high - low)
    return max(lowest, float(low - margin)), float(high + margin)


def centred_norms(features: Mapping[str, Array]) -> dict[str, Array]:
    """Norms of centred features [M, D], over the mean norm of the one called ``teacher``."""
    found = {
        name: np.linalg.norm(array - array.mean(axis=0), axis=1) for name, array in features.items()
    }
    unit = float(found["teacher"].mean())
    return {name: array / unit for name, array in found.items()}
