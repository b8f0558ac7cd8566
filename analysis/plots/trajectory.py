"""What denoising does to the features, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.feature_gap.features import Array
from analysis.feature_gap.trajectory import trajectory_distances
from analysis.plots.column import Column, ReportFigure
from analysis.plots.forms.limits import window
from analysis.plots.style import COLUMN_INCHES, FULL_INCHES, End, height_for, label_ends, line, tag


def denoising_trajectory(
    axes: Axes, surprise: Mapping[str, Array], colours: Mapping[str, str]
) -> Axes:
    """Probability that the teacher's head gives the label, at each sampling step.

    ``surprise``: label -> negative log-likelihoods in nats [M images, steps + 1], from the start of
    the sampling (step 0) to the virtual teacher (last). Mean over images; the band holds the
    middle half of them.
    """
    ends = []
    for label, nats in surprise.items():
        probability = np.exp(-nats)
        steps = np.arange(probability.shape[1])
        low, high = np.quantile(probability, [0.25, 0.75], axis=0)
        band = axes.fill_between(steps, low, high, color=colours[label], alpha=0.15, lw=0)
        mean = probability.mean(axis=0)
        tag([band, *axes.plot(steps, mean, **line(colours, label, marked=True))], label)
        ends.append(End(label, float(mean[-1]), colours[label]))
    _scale_steps(axes, max(nats.shape[1] for nats in surprise.values()))
    axes.set_ylim(-0.02, 1.02)
    if len(ends) > 1:
        label_ends(axes, ends)
    axes.set_ylabel("teacher head's p(label)")
    return axes


def trajectory_distance(
    axes: Axes, distances: Mapping[str, Array], colours: Mapping[str, str]
) -> Axes:
    """Distance to the teacher's features after each sampling step: label -> [steps + 1]."""
    for label, values in distances.items():
        tag(axes.plot(range(len(values)), values, **line(colours, label, marked=True)), label)
    limits = window(
        [values[-1] for values in distances.values()], np.concatenate(list(distances.values()))
    )
    axes.set_ylim(limits)
    _scale_steps(axes, max(map(len, distances.values())))
    ends = []
    for label, values in distances.items():
        last = float(values[-1])
        beyond = {"low": "↓", "high": "↑"}.get(limits.side(last), "")
        text = f"{beyond} {label} {last:.3g}" if beyond else label
        ends.append(End(text, limits.clip(last), colours[label], label))
    label_ends(axes, ends)
    axes.set_ylabel("Fréchet distance\n← closer")
    return axes


def trajectory_figure(
    surprise: Mapping[str, Array],
    distances: Mapping[str, Array],
    title: str,
    colours: Mapping[str, str],
) -> Figure:
    """The probability at the left; the distance at the right, where there is one."""
    panels = 1 + bool(distances)
    size = (FULL_INCHES if panels > 1 else COLUMN_INCHES, height_for(len(surprise), 2.1))
    figure, axes = plt.subplots(1, panels, figsize=size, squeeze=False)
    denoising_trajectory(axes[0, 0], surprise, colours)
    if distances:
        trajectory_distance(axes[0, 1], distances, colours)
    axes[0, 0].set_title(title)
    for panel in axes.flat:
        panel.grid(axis="y")
    return figure


def _scale_steps(axes: Axes, count: int) -> None:
    axes.set_xlim(-0.1, count - 0.9)
    axes.set_xticks(range(0, count, max(1, (count - 1) // 8)))
    axes.set_xlabel("sampling step (last: virtual teacher)")


def draw(column: Column) -> Figure | None:
    """Of the first seed of every method that keeps a trajectory."""
    surprise: dict[str, Array] = {}
    distances: dict[str, Array] = {}
    for label, arrays in column.first_features():
        nats = arrays.get("heldout/inspect/trajectory_nll", np.empty(0))
        if nats.ndim == 2:
            surprise[label] = nats
            along = trajectory_distances(arrays)
            distances |= {} if along is None else {label: along}
    if not surprise:
        return None
    return trajectory_figure(surprise, distances, column.networks, column.colours)


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"the feature on its way to the virtual teacher, which sees the teacher's prediction: "
        f"{column.images_text()}. Left: probability that the teacher's head gives the label, mean "
        "over images, the band holds the middle half of them. Right: Fréchet distance to the "
        "teacher's features as in the gap table, whose value for the virtual teacher is the last "
        f"point.{column.left_out_text()}"
    )


FIGURES = (ReportFigure("trajectory", 100, draw, caption),)
