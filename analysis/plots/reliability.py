"""Reliability diagram: whether a confidence of 80 % is right in 80 of 100 images."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from analysis.plots.column import Column, ReportFigure
from analysis.plots.style import COLUMN_INCHES, tag
from analysis.runs.predictions import Place, Predicted
from analysis.statistics.calibration import BINS, reliability


def draw(column: Column) -> Figure | None:
    """A line a method, all its runs together; None where none has kept its predictions."""
    cells = Predicted(column.grid, [column.key]).cells
    figure, axes = plt.subplots(figsize=(COLUMN_INCHES, COLUMN_INCHES))
    axes.plot([0, 100], [0, 100], color="grey", lw=0.6, ls=":")
    drawn = 0
    for label in column.labels:
        runs = cells.get(Place(label, column.key), [])
        known = [it for it in runs if it.predictions.confidence is not None]
        if not known:
            continue
        confidence = np.concatenate([np.asarray(it.predictions.confidence, float) for it in known])
        found = reliability(confidence, np.concatenate([it.right for it in known]))
        line = axes.plot(
            100 * found.confidence,
            100 * found.accuracy,
            column.markers[label] + "-",
            color=column.colours[label],
            label=label,
            ms=3,
            lw=0.9,
        )
        tag(line, label)
        drawn += 1
    if not drawn:
        plt.close(figure)
        return None
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("right (%)")
    axes.legend(fontsize=6, frameon=False)
    return figure


def caption(column: Column) -> str:
    """For the report."""
    return (
        f"confidence and accuracy on the {column.split} split, by {BINS} bins of confidence; "
        f"{column.runs_text(column.finished)}, the runs of a method together. Below the dotted "
        "line a method is too sure of itself."
    )


FIGURES = (ReportFigure("reliability", 35, draw, caption),)
