"""What finished runs do on other images: one row for each run and protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.grid import ColumnKey, Grid, GridCell
from analysis.runs.records import FINISHED, flatten
from analysis.runs.threads import in_threads
from analysis.statistics import stats
from analysis.statistics.stats import Array
from suite.store import evaluations
from suite.store.record import RunDirectory


@dataclass(frozen=True)
class Evaluations:
    """The results of one kind, of the runs of a grid and of their teachers."""

    grid: Grid
    rows: pd.DataFrame
    """``directory``, ``id`` of the protocol, and the figures, nested ones joined by ``/``."""
    protocols: dict[str, dict[str, Any]]
    """Id -> protocol, in the order of the ids."""

    @classmethod
    def of(cls, grid: Grid, kind: str) -> Evaluations:
        """Read them; a run without a result has no row."""
        runs = grid.collected.runs
        finished = runs.loc[runs["state"] == FINISHED, "directory"].unique()
        places = [place for place in finished if place in grid.evaluated[kind]]
        root = grid.collected.runs_root

        def read(place: str) -> list[dict[str, Any]]:
            return list(evaluations.results(RunDirectory(root / place), kind))

        found = list(in_threads(read, places))
        rows = [
            {"directory": place, "id": result["id"], **flatten(result["figures"])}
            for place, results in zip(places, found, strict=True)
            for result in results
        ]
        protocols = {it["id"]: it["protocol"] for results in found for it in results}
        frame = pd.DataFrame(rows, columns=None if rows else ["directory", "id"])
        return cls(grid, frame, dict(sorted(protocols.items())))

    def protocols_of(self, column: ColumnKey) -> list[str]:
        """The protocols by which some run of a column was measured."""
        students = self.grid.students
        places = students.loc[students["column"] == column, "directory"]
        there = set(self.rows.loc[self.rows["directory"].isin(places), "id"])
        return [protocol for protocol in self.protocols if protocol in there]

    def cell(self, label: str, column: ColumnKey, protocol: str, figure: str) -> GridCell:
        """One figure of the runs of a cell, by replicate."""
        runs = self.grid.runs(label, column)
        known = self._values(protocol, figure)
        by_replicate = dict(zip(runs["replicate"], runs["directory"].map(known), strict=True))
        scores = [by_replicate.get(it, np.nan) for it in self.grid.replicates]
        return GridCell(np.array(scores, float), self.grid.cell(label, column).states, stale=0)

    def corruption_error(self, label: str, column: ColumnKey, protocol: str, kind: str) -> float:
        """100 minus the accuracy over all severities of a corruption, mean over runs; NaN: none."""
        return self._error(kind, lambda it: self.cell(label, column, protocol, it).scores)

    def teachers_corruption_error(self, column: ColumnKey, protocol: str, kind: str) -> float:
        """As :meth:`corruption_error`, of the teachers of a column."""
        return self._error(kind, lambda it: self.of_teachers(column, protocol, it))

    def _error(self, kind: str, scores: Callable[[str], Array]) -> float:
        figures = [it for it in self._figures if it.startswith(f"corruptions/{kind}/")]
        return 100 - stats.mean([stats.mean(scores(it)) for it in figures])

    def by_severity(self, label: str, column: ColumnKey, protocol: str) -> Array:
        """Accuracy on clean images and in each severity, mean over corruptions: [runs, 6]."""
        figures = [it for it in self._figures if it.startswith("corruptions/")]
        levels = sorted({int(it.rpartition("/")[2]) for it in figures})
        of_level = [[it for it in figures if it.endswith(f"/{level}")] for level in levels]
        columns = [
            np.mean([self.cell(label, column, protocol, it).scores for it in names], axis=0)
            for names in (["clean_top1_percent"], *of_level)
        ]
        scores = np.stack(columns, axis=1)
        return np.asarray(scores[~np.isnan(scores).any(axis=1)])

    def of_teachers(self, column: ColumnKey, protocol: str, figure: str) -> Array:
        """One figure of the teachers of a column that a run has trained, each once."""
        students, teachers = self.grid.students, self.grid.collected.teachers()
        if "teacher_run_id" not in students:
            return np.array([], dtype=np.float64)
        wanted = students.loc[students["column"] == column, "teacher_run_id"].dropna()
        places = teachers.loc[teachers["run_id"].isin(wanted), "directory"].drop_duplicates()
        return stats.present(places.map(self._values(protocol, figure)).to_numpy(np.float64))

    @property
    def _figures(self) -> list[str]:
        return list(map(str, self.rows.columns))

    def _values(self, protocol: str, figure: str) -> dict[str, float]:
        rows = self.rows[self.rows["id"] == protocol]
        known = figure in rows and not rows.empty
        return dict(zip(rows["directory"], rows[figure], strict=True)) if known else {}
