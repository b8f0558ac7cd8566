"""What the runs of a grid predict for single images of the split that is reported.

Legend: N images of a split.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.runs.threads import in_threads
from analysis.statistics.design import Design
from analysis.statistics.images import ImageScores
from suite.store import predictions
from suite.store.predictions import Predictions
from suite.store.record import RunDirectory

MOST_RUNS = 20
"""Runs of a cell whose predictions are read: more would say little more, and take their time."""


class Place(NamedTuple):
    """A cell of the accuracy table."""

    label: str
    column: ColumnKey


@dataclass(frozen=True)
class Run:
    """A run and what it predicts."""

    directory: str
    teacher_run_id: str | None
    predictions: Predictions

    label: NDArray[np.integer]
    """[N]"""
    agreement_percent: float = math.nan
    """Images on which it predicts its teacher's class, as its record says after the last epoch."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """[N] whether the predicted class is the label."""
        return np.asarray(self.predictions.predicted == self.label)


class Predicted:
    """The predictions of finished runs, read when they are asked for."""

    def __init__(self, grid: Grid, columns: Sequence[ColumnKey] = ()) -> None:
        self.grid = grid
        self._columns = columns or grid.columns
        self._teachers: dict[str, dict[str, Predictions]] = {}

    @cached_property
    def cells(self) -> dict[Place, list[Run]]:
        """Cell -> its runs; cells without predictions are left out.

        The runs of a column that were tested on other labels than its first are left out too.
        """
        rows = list(self._rows())
        found = list(in_threads(lambda row: self._read(*row), rows))
        cells: dict[Place, list[Run]] = defaultdict(list)
        labels: dict[ColumnKey, NDArray[np.integer]] = {}
        for (place, *_), run in zip(rows, found, strict=True):
            if run is not None:
                first = labels.setdefault(place.column, run.label)
                if np.array_equal(first, run.label):
                    cells[place].append(run)
        return dict(cells)

    def of_teacher(self, column: ColumnKey, run_id: str | None) -> Predictions | None:
        """What a teacher of the run store predicts on the split of a column."""
        if run_id is None:
            return None
        if run_id not in self._teachers:
            found = predictions.load(RunDirectory.of_teacher(self._root, run_id))
            self._teachers[run_id] = found or {}
        return self._teachers[run_id].get(self._split(column))

    def image_scores(self, design: Design) -> list[ImageScores]:
        """The runs of a design on each set of test images."""
        runs: dict[tuple[str, bytes], dict[int, list[NDArray[np.bool_]]]] = {}
        seen: set[str] = set()
        group_of_run = design.group_of_run.to_dict()
        for place, of_cell in self.cells.items():
            for run in of_cell:
                if run.directory in seen or run.directory not in group_of_run:
                    continue
                seen.add(run.directory)
                images = place.column.dataset, run.label.tobytes()
                of_group = runs.setdefault(images, {})
                of_group.setdefault(int(group_of_run[run.directory]), []).append(run.right)
        return [
            ImageScores(
                np.array(list(of_set)),
                np.array([len(rows) for rows in of_set.values()]),
                100 * np.stack([np.mean(rows, axis=0) for rows in of_set.values()]),
            )
            for of_set in runs.values()
        ]

    @property
    def _root(self) -> Path:
        return self.grid.collected.runs_root

    def _split(self, column: ColumnKey) -> str:
        return self.grid.figure_of(column).split("/")[1]

    def _rows(self) -> Iterator[tuple[Place, str, str | None, float]]:
        for label in self.grid.labels:
            for column in self._columns:
                runs = self.grid.runs(label, column)
                done = runs[runs["state"] == FINISHED][:MOST_RUNS]
                teachers = done.get("teacher_run_id", [None] * len(done))
                recorded = f"last/{self._split(column)}/agreement_percent"
                agreements = done.get(recorded, pd.Series(math.nan, done.index))
                each = zip(done["directory"], teachers, agreements, strict=True)
                for directory, teacher, agreement in each:
                    known = teacher if isinstance(teacher, str) else None
                    yield Place(label, column), str(directory), known, float(agreement)

    def _read(
        self, place: Place, directory: str, teacher: str | None, agreement: float
    ) -> Run | None:
        found = predictions.load(RunDirectory(self._root / directory)) or {}
        of_split = found.get(self._split(place.column))
        if of_split is None or of_split.label is None:
            return None
        return Run(directory, teacher, of_split, of_split.label, agreement)
