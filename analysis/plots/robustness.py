"""Accuracy over the severity of corruptions."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import COLUMN_INCHES, legend, line, tag
from analysis.runs.evaluations import Evaluations
from suite.store.evaluations import ROBUSTNESS


def draw(column: Column) -> Figure | None:
    """A line a method, by the first protocol; None where no run of the column was measured."""
    found = Evaluations.of(column.grid, ROBUSTNESS)
    protocols = found.protocols_of(column.key)
    if not protocols:
        return None
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, 2.3))
    handles = []
    for label in column.labels:
        scores = found.by_severity(label, column.key, protocols[0])  # [runs, severities]
        if not len(scores):
            continue
        severities = np.arange(scores.shape[1])
        look = line(column.colours, label, marked=True)
        low, high = scores.min(axis=0), scores.max(axis=0)
        band = axes.fill_between(severities, low, high, color=look["color"], alpha=0.13, lw=0)
        tag([band, *axes.plot(severities, scores.mean(axis=0), **look)], label)
        handles.append(Line2D([], [], label=label, **look))
    axes.set_xlabel("severity (0: clean)")
    axes.set_ylabel("accuracy (%)")
    axes.grid(axis="y")
    legend(figure, handles, [str(handle.get_label()) for handle in handles])
    return figure


def caption(column: Column) -> str:
    """For the report."""
    found = Evaluations.of(column.grid, ROBUSTNESS)
    kinds = found.protocols[found.protocols_of(column.key)[0]]["corruptions"]
    return (
        f"accuracy on corrupted test images over severity, mean over {len(kinds)} corruptions "
        f"({', '.join(kind.replace('_', ' ') for kind in kinds)}); lines are means over the runs "
        "of a method, bands their range."
    )


FIGURES = (ReportFigure("robustness", 38, draw, caption),)
