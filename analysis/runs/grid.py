"""Runs arranged as methods x columns x replicates, with the holes kept.

A replicate is a seed of the student and, where an experiment has several teachers of one
architecture, the seed of its teacher. Runs without a teacher stand beside the first.

A column is one (dataset, recipe, pair); runs of different recipes never share one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.runs.collect import Collected
from analysis.runs.records import FINISHED
from analysis.runs.threads import in_threads
from analysis.statistics import stats
from analysis.statistics.stats import Array
from suite.store import evaluations
from suite.store.record import RunDirectory
from suite.store.states import apart

TEST, VALIDATION = "last/test/top1_percent", "last/val/top1_percent"


class ColumnKey(NamedTuple):
    """One column of the accuracy table."""

    dataset: str
    recipe: str
    pair: str


@dataclass(frozen=True)
class GridCell:
    """The runs of one method in one column."""

    scores: Array
    """[S] by replicate; NaN where there is no trusted result."""
    states: dict[str, int]
    """How many of the expected runs are in which state."""
    stale: int
    """Runs made by other code than most."""
    other_teacher: int = 0
    """Runs taught by other weights than most of their column."""

    @property
    def n(self) -> int:
        """Runs that count."""
        return len(stats.present(self.scores))

    @property
    def expected(self) -> int:
        """Runs that the experiment expects."""
        return sum(self.states.values())

    @property
    def complete(self) -> bool:
        """True if every expected run counts."""
        return 0 < self.n == self.expected


class Grid:
    """All cells of an experiment; order is the manifest's."""

    def __init__(self, collected: Collected) -> None:
        self.collected = collected
        students = collected.students()
        keys: dict[tuple[str, str, str], ColumnKey] = {}  # one object for all runs of a column
        students["column"] = [
            keys.setdefault(key, ColumnKey(*key))
            for key in zip(students["dataset"], students["recipe"], students["pair"], strict=True)
        ]
        students["replicate"] = _replicates(students)
        self.students = students
        self.labels: list[str] = list(dict.fromkeys(students["label"]))
        self.columns: list[ColumnKey] = list(dict.fromkeys(students["column"]))
        self.seeds: list[int] = sorted(set(students["seed"]))
        self.replicates: list[tuple[int, int]] = sorted(set(students["replicate"]))
        self._by_cell, self._by_column = _places(students)
        self._methods = dict(zip(students["label"][::-1], students["method"][::-1], strict=True))
        self._cells: dict[tuple[str, ColumnKey, str], GridCell] = {}

    def figure_of(self, column: ColumnKey) -> str:
        """What is reported of a column: test accuracy of the last epoch; validation accuracy if
        runs are finished and none was tested.
        """
        return self._figures[column]

    @cached_property
    def _figures(self) -> dict[ColumnKey, str]:
        done = self.students[self.students["state"] == FINISHED]
        tested = set(done[done[TEST].notna()]["column"]) if TEST in done else set()
        untested = set(done["column"]) - tested
        return {column: VALIDATION if column in untested else TEST for column in self.columns}

    @property
    def figures(self) -> set[str]:
        """What is reported of any column: one of the two, or both."""
        return set(self._figures.values())

    def runs(self, label: str, column: ColumnKey) -> pd.DataFrame:
        """The runs of a cell, finished or not."""
        return self.students.iloc[self._by_cell.get((label, column), [])]

    def students_of(self, column: ColumnKey) -> pd.DataFrame:
        """The runs of a column, finished or not."""
        return self.students.iloc[self._by_column.get(column, [])]

    def only(self, column: ColumnKey) -> Grid:
        """This grid with the runs of one column alone, as a process that draws it needs them.

        Names of rows and columns stay those of the whole.
        """
        part = copy(self)
        part._figures, part._models, part.evaluated = self._figures, self._models, self.evaluated
        part.collected = self.collected_of(column)
        part.students = self.students_of(column)
        part._by_cell, part._by_column = _places(part.students)
        part._cells = {key: cell for key, cell in self._cells.items() if key[1] == column}
        return part

    def collected_of(self, column: ColumnKey) -> Collected:
        """The runs of one column, and its teachers."""
        own = self.students_of(column)
        joined = own["teacher_run_id"].dropna().unique() if "teacher_run_id" in own else ()
        taught = [run_id for some in joined for run_id in apart(some)]
        runs = self.collected.runs
        teachers = (runs["role"] == "teacher") & runs["run_id"].isin(taught)
        rows = runs[runs.index.isin(own.index) | teachers].reset_index(drop=True)
        return replace(self.collected, runs=rows)

    def cell(self, label: str, column: ColumnKey, figure: str | None = None) -> GridCell:
        """Scores by replicate and the states of the runs."""
        name = figure or self.figure_of(column)
        key = label, column, name
        if key not in self._cells:
            self._cells[key] = self._cell(label, column, name)
        return self._cells[key]

    def _cell(self, label: str, column: ColumnKey, name: str) -> GridCell:
        runs = self.runs(label, column)
        done = runs[runs["state"] == FINISHED]
        known = dict(zip(done["replicate"], done[name], strict=True)) if name in done else {}
        scores = np.array([known.get(it, np.nan) for it in self.replicates], dtype=np.float64)
        scores.flags.writeable = False  # everybody gets the same array
        states = {str(state): int(n) for state, n in runs["state"].value_counts().items()}
        others = int(done["other_teacher"].sum())
        return GridCell(scores, states, int(done["stale"].sum()), others)

    @cached_property
    def evaluated(self) -> dict[str, set[str]]:
        """Kind of evaluation -> directories of the finished runs with a result of it."""
        runs, root = self.collected.runs, self.collected.runs_root
        places = runs.loc[runs["state"] == FINISHED, "directory"].unique().tolist()
        found = in_threads(lambda place: evaluations.kinds(RunDirectory(root / place)), places)
        kinds_of = dict(zip(places, found, strict=True))
        return {
            kind: {place for place, kinds in kinds_of.items() if kind in kinds}
            for kind in evaluations.KINDS
        }

    def array(self, label: str, figure: str | None = None) -> Array:
        """Scores [replicates, columns] of one method, see :mod:`analysis.statistics.stats`."""
        return np.stack([self.cell(label, c, figure).scores for c in self.columns], axis=1)

    def method(self, label: str) -> str:
        """The method behind a label."""
        return str(self._methods[label])

    def tuned(self, label: str) -> list[dict[str, Any]]:
        """How searches chose the settings of a row (``search, trials, split, pair`` ...), each
        once: what the manifests say of its runs.
        """
        found: list[dict[str, Any]] = []
        for mark in self._said_of(label, "tuned"):
            if isinstance(mark, dict) and mark not in found:
                found.append(mark)
        return found

    def chosen_by_hand(self, label: str) -> list[str | None]:
        """On which images the settings of a row were chosen where no search did, each once.

        None stands for what the manifest does not say.
        """
        images = [
            name if isinstance(name, str) else None
            for mark, name in zip(
                self._said_of(label, "tuned"), self._said_of(label, "chosen_on"), strict=True
            )
            if not isinstance(mark, dict)
        ]
        return list(dict.fromkeys(images))

    def _said_of(self, label: str, column: str) -> list[Any]:
        runs = self.students[self.students["label"] == label]
        return list(runs[column]) if column in runs else [None] * len(runs)

    def label_of(self, method: str) -> str | None:
        """The row that stands for a method as reference: its own name, else its first label."""
        named = [label for label in self.labels if self.method(label) == method]
        return method if method in named else next(iter(named), None)

    def models(self, column: ColumnKey) -> tuple[str | None, str]:
        """Model names (timm's) of teacher and student."""
        return self._models[column]

    @cached_property
    def _models(self) -> dict[ColumnKey, tuple[str | None, str]]:
        models = {}
        for column, rows in self._by_column.items():
            names = self.students["teacher"].iloc[rows]
            teacher = next((name for name in names if isinstance(name, str)), None)
            models[column] = teacher, str(self.students["student"].iloc[rows[0]])
        return models

    def teacher_accuracy(self, column: ColumnKey) -> Array:
        """Accuracy of the teachers that taught the finished students of a column, each once."""
        runs = self.students_of(column)
        split = self.figure_of(column).split("/", 1)[1]
        names = [f"teacher/{split}", "teacher/weights_sha256"]
        if any(name not in runs for name in names):
            return self._teacher_runs(runs, column)
        taught = runs[(runs["state"] == FINISHED)].dropna(subset=names).drop_duplicates(names[1])
        return (
            taught[names[0]].to_numpy(dtype=np.float64)
            if len(taught)
            else self._teacher_runs(runs, column)
        )

    def _teacher_runs(self, students: pd.DataFrame, column: ColumnKey) -> Array:
        """Before the first student has finished, the teachers' own records know it."""
        teachers = self.collected.teachers()
        figure = self.figure_of(column)
        if "teacher_run_id" not in students or figure not in teachers:
            return np.array([], dtype=np.float64)
        wanted = teachers["run_id"].isin(students["teacher_run_id"].dropna())
        done = teachers[wanted & (teachers["state"] == FINISHED)].drop_duplicates("run_id")
        return stats.present(done[figure].to_numpy(dtype=np.float64))

    def column_names(self) -> list[str]:
        """Headers: :meth:`place`, and validation only where columns differ in that."""
        mixed = len(self.figures) > 1
        return [
            self.place(column)
            + (", validation" if mixed and self.figure_of(column) == VALIDATION else "")
            for column in self.columns
        ]

    def networks(self, column: ColumnKey) -> str:
        """``cifar_resnet20 → cifar_resnet8``: names of the networks, and :meth:`place` where two
        columns have the same.
        """
        names = {key: pair_name("/".join(filter(None, self.models(key)))) for key in self.columns}
        name = names[column]
        return name if list(names.values()).count(name) == 1 else f"{name}, {self.place(column)}"

    def place(self, column: ColumnKey) -> str:
        """``teacher → student``, with what else tells this column from the others."""
        return place_names(self.columns)[column]


def _places(
    students: pd.DataFrame,
) -> tuple[dict[tuple[str, ColumnKey], list[int]], dict[ColumnKey, list[int]]]:
    """(label, column) and column -> positions of their runs; copies of 100,000 rows are large."""
    by_cell: dict[tuple[str, ColumnKey], list[int]] = defaultdict(list)
    by_column: dict[ColumnKey, list[int]] = defaultdict(list)
    for row, cell in enumerate(zip(students["label"], students["column"], strict=True)):
        by_cell[cell].append(row)
        by_column[cell[1]].append(row)
    return dict(by_cell), dict(by_column)


def _replicates(students: pd.DataFrame) -> list[tuple[int, int]]:
    """(seed, teacher's seed) of every run."""
    if "teacher_seed" not in students:
        return [(int(seed), 0) for seed in students["seed"]]
    teachers = pd.to_numeric(students["teacher_seed"])
    teachers = teachers.fillna(teachers.min() if teachers.notna().any() else 0).astype(int)
    return list(zip(students["seed"].astype(int), teachers, strict=True))


def place_names(columns: Sequence[ColumnKey]) -> dict[ColumnKey, str]:
    """``teacher → student`` for each; the recipe, and then the data, where pairs do not tell."""
    several = len({column.recipe for column in columns}) > 1
    places = [(column.pair, column.recipe) for column in columns]
    return {
        column: pair_name(column.pair)
        + (f" ({column.recipe})" if several else "")
        + (f" on {column.dataset}" if places.count((column.pair, column.recipe)) > 1 else "")
        for column in columns
    }


def pair_name(pair: str) -> str:
    """``T/S`` as ``T → S``."""
    return " → ".join(pair.split("/")) or "–"


def states_text(states: dict[str, int], leave_out: Sequence[str] = ()) -> str:
    """``2 failed, 1 missing``"""
    return ", ".join(
        f"{n} {state}" for state, n in sorted(states.items()) if state not in leave_out
    )
