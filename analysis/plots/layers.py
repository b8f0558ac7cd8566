"""How similar every stage of the student is to every stage of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.feature_gap.feature_files import FILE, UnusableError, stages
from analysis.feature_gap.features import Array, debiased_cka
from analysis.plots.column import PANELS, Column, ReportFigure
from analysis.plots.style import FULL_INCHES, tag

IN_A_ROW = 4


def similarities(student: Sequence[Array], teacher: Sequence[Array]) -> Array:
    """Debiased CKA of every stage of the student [S] with every one of the teacher [T]: [S, T]."""
    return np.array([[debiased_cka(own, theirs) for theirs in teacher] for own in student])


def heat_map(axes: Axes, values: Array, title: str) -> Axes:
    """Stages from shallow (lower left) to deep; light is similar, the number is the CKA."""
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "black" if value > 0.55 else "white"
        text = f"{value:z.2f}".replace("-", "−")
        axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color=colour)
    axes.set_xticks(range(values.shape[1]))
    axes.set_yticks(range(values.shape[0]))
    axes.tick_params(length=0)
    axes.set_title(title)
    tag([axes], title)
    return axes


def layers_figure(values: Mapping[str, Array]) -> Figure:
    """A panel per method over the full width."""
    columns = min(IN_A_ROW, len(values))
    rows = -(-len(values) // columns)
    size = (FULL_INCHES * columns / IN_A_ROW, 0.5 + 1.45 * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axes, (label, table) in zip(panels.flat, values.items(), strict=False):
        heat_map(axes, table, label)
    for axes in panels.flat[len(values) :]:
        axes.set_visible(False)
    figure.supxlabel("stage of the teacher", fontsize=7)
    figure.supylabel("stage of the student", fontsize=7)
    return figure


def draw(column: Column) -> Figure | None:
    """Where runs kept the features of all stages: the first seed of every method."""
    values = {}
    for label in column.labels[:PANELS]:
        runs = column.finished[column.finished["label"] == label].sort_values("seed")
        for _, run in runs[:1].iterrows():
            path = column.collected.runs_root / run["directory"] / FILE
            with suppress(UnusableError):
                student, teacher = stages(path, run["run_id"])
                if student and teacher:
                    values[label] = similarities(student, teacher)
    return layers_figure(values) if values else None


def caption(column: Column) -> str:
    """For the report."""
    return (
        "debiased CKA between every stage of the student and every stage of the teacher (features "
        f"averaged over positions): {column.images_text()}. Stages from shallow to deep, light is "
        "similar; methods without a teacher, or whose runs did not keep these features "
        f"(`--stage-features`), have no panel.{column.left_out_text()}"
    )


FIGURES = (ReportFigure("layers", 70, draw, caption),)
