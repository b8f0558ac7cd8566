"""What figures are drawn from: the runs of one column of the accuracy table, read once.

A figure is one file of this folder with ``FIGURES``, a tuple of :class:`ReportFigure`;
:func:`figures` finds it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module

import matplotlib.figure
import numpy as np
import pandas as pd

from analysis.feature_gap.feature_files import DRAWN, UnusableError, sources
from analysis.feature_gap.features import Array
from analysis.feature_gap.gap import Gaps, there
from analysis.feature_gap.views import STUDENT, View, views
from analysis.plots.style import colours, markers
from analysis.runs.collect import Collected, epochs
from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED

CURVES = 600
"""Metrics are read for at most so many runs of a column."""
PANELS = 12
"""Figures with a panel or row of images for each method show at most so many: the first."""


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report."""

    name: str
    """Stem of its files."""
    order: int
    """Place in the report, from small to large."""
    draw: Callable[[Column], matplotlib.figure.Figure | None]
    """None where there is nothing to show."""
    caption: Callable[[Column], str]
    """What is drawn, of which runs and images, and what every mark is; called after ``draw``."""
    of_all: bool = False
    """Drawn once for all columns together."""


@cache
def figures() -> tuple[ReportFigure, ...]:
    """Every figure of the files of this folder, in the order of a report."""
    package = import_module("analysis.plots")
    names = [f"analysis.plots.{file.name}" for file in pkgutil.iter_modules(package.__path__)]
    known = [figure for name in names for figure in getattr(import_module(name), "FIGURES", ())]
    return tuple(sorted(known, key=lambda figure: (figure.order, figure.name)))


class Column:
    """One column of the accuracy table."""

    def __init__(self, grid: Grid, gaps: Gaps, key: ColumnKey, *, with_tsne: bool = False) -> None:
        self.grid = grid
        self.gaps = gaps
        self.key = key
        self.with_tsne = with_tsne
        self.colours = colours(grid.labels)
        self.markers = markers(grid.labels)

    @property
    def collected(self) -> Collected:
        """The experiment."""
        return self.grid.collected

    @property
    def labels(self) -> list[str]:
        """All methods of the experiment."""
        return self.grid.labels

    @property
    def networks(self) -> str:
        """``cifar_resnet20 → cifar_resnet8``"""
        return self.grid.networks(self.key)

    @cached_property
    def students(self) -> pd.DataFrame:
        """All runs that the experiment expects here."""
        return self.grid.students_of(self.key)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """Those with a result."""
        return self.students[self.students["state"] == FINISHED]

    @property
    def accuracy(self) -> str:
        """Name of the accuracy that is reported here, as in the metrics of an epoch."""
        return self.grid.figure_of(self.key).split("/", 1)[1]

    @property
    def split(self) -> str:
        """``test`` or ``validation``"""
        return "test" if self.accuracy.startswith("test/") else "validation"

    def with_accuracy(self, runs: pd.DataFrame) -> pd.DataFrame:
        """``runs`` with what is reported of them as ``accuracy``, NaN if unknown."""
        if runs.empty:
            return runs.assign(accuracy=np.empty(0))
        name = self.grid.figure_of(self.key)
        known = runs[name].where(runs["state"] == FINISHED) if name in runs else np.nan
        return runs.assign(accuracy=known)

    def gap_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows of a frame of :class:`Gaps` that belong here."""
        return there(frame, **self.key._asdict())

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Accuracy and diagnostics over epochs: of finished runs, or of all while none is."""
        runs = (self.students if self.finished.empty else self.finished).head(CURVES)
        shown = self.accuracy
        table = epochs(
            self.collected, runs, lambda name: name == shown or name.startswith("diagnostics/")
        )
        return table.merge(runs[["run_id", "label", "seed"]], on="run_id")

    def first_features(
        self, names: tuple[str, ...] = DRAWN
    ) -> Iterator[tuple[str, dict[str, Array]]]:
        """Label and arrays of the first seed that has features, of :data:`PANELS` methods."""
        runs = self.finished.sort_values("seed", kind="stable")
        where = dict(zip(runs.index, sources(runs), strict=True))
        for label in self.labels[:PANELS]:
            for index in runs.index[runs["label"] == label][:1]:
                with suppress(UnusableError):
                    yield label, where[index].read(self.collected.runs_root, names)

    @cached_property
    def views(self) -> dict[str, dict[str, View]]:
        """Label -> name -> view, of the first seed."""
        made = {
            label: {it.name: it for it in views(arrays)} for label, arrays in self.first_features()
        }
        return {label: of_label for label, of_label in made.items() if STUDENT in of_label}

    def runs_text(self, runs: pd.DataFrame) -> str:
        """``18 runs of 6 methods, seeds 0, 1, 2``"""
        count, methods = runs["run_id"].nunique(), runs["label"].nunique()
        seeds = ", ".join(str(seed) for seed in sorted(set(runs["seed"])))
        plural = ["" if many == 1 else "s" for many in (count, methods, runs["seed"].nunique())]
        return f"{count} run{plural[0]} of {methods} method{plural[1]}, seed{plural[2]} {seeds}"

    def images_text(self) -> str:
        """``300 held-out images of 10 classes, first seed``"""
        for of_label in self.views.values():
            label = of_label[STUDENT].label
            return f"{len(label)} held-out images of {len(np.unique(label))} classes, first seed"
        return ""

    def left_out_text(self) -> str:
        """Which methods have no panel, as a sentence after a space; nothing where all have."""
        names = ", ".join(self.labels[PANELS:])
        return f" Not drawn, beyond {PANELS} methods: {names}." if names else ""
