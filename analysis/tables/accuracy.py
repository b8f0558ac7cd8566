"""Methods x pairs: the table of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.runs.grid import TEST, ColumnKey, Grid, GridCell, pair_name, states_text
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.forms.bold import bold_text, ties_of
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH, mean_sd, scores_cell
from analysis.tables.gains import Gains
from analysis.tables.inputs import Inputs

STALE, TUNED, TAUGHT = "†", "‡", "§"
HAND = {
    "test": "Settings chosen by hand on test images, so that their accuracy there is too high",
    "validation": "Settings chosen by hand on validation images",
    "published": "Settings of the authors",
    "": "Settings of the recipe; it does not say on which images they were chosen",
}
"""Where settings come from -> what the note says."""


ORDER = 10


def tables(inputs: Inputs) -> Iterator[Table]:
    """The accuracy table."""
    yield accuracy(inputs.grid)


def accuracy(grid: Grid) -> Table:
    """Methods x pairs: mean ± sd (n), what is not told from the best in bold; gains."""
    columns = [Column("Method", "l")]
    columns += [
        Column(name, group=key.pair)
        for name, key in zip(grid.column_names(), grid.columns, strict=True)
    ]
    gains = Gains(grid)
    columns += [Column(f"gain over {reference}") for reference in gains.references]
    ties = [ties_of(grid, key) for key in grid.columns]
    rows = [_teacher_row(grid, len(gains.references))]
    for number, label in enumerate(grid.labels):
        scores = [score_cell(grid.cell(label, key)) for key in grid.columns]
        cells = [
            cell if column is None else column.mark(cell, label)
            for cell, column in zip(scores, ties, strict=True)
        ]
        name = Cell(label + (TUNED if grid.tuned(label) else ""))
        over = [gains.cell(label, reference) for reference in gains.references]
        rows.append(Row([name, *cells, *over], label, rule_above=number == 0))
    return Table(
        name="accuracy",
        title=_title(grid),
        columns=columns,
        rows=rows,
        caption=(
            f"Top-1 (%) of the last epoch on {_datasets(grid)}: mean ± standard deviation over "
            f"runs (their number). {_seeds(grid)} {bold_text(any(ties))}"
        ),
        notes=[
            *_accuracy_notes(grid),
            *gains.notes(),
            *_code_notes(grid.collected.runs),
            *_teacher_notes(grid.students),
            *_tuning_notes(grid),
        ],
    )


def _title(grid: Grid) -> str:
    if len(grid.figures) > 1:
        return "Accuracy (test, or validation where the column says so)"
    return f"{'Test' if grid.figures == {TEST} else 'Validation'} accuracy"


def score_cell(cell: GridCell) -> Cell:
    """Mean ± sd (n), ``2/3 runs`` where some are missing, the states where all are."""
    if not cell.expected:
        return DASH
    if not cell.n:
        known = {
            "without this figure" if state == FINISHED else state: n
            for state, n in cell.states.items()
        }
        return Cell(states_text(known), "hole")
    runs = str(cell.n) if cell.complete else f"{cell.n}/{cell.expected} runs"
    marks = (STALE if cell.stale else "") + (TAUGHT if cell.other_teacher else "")
    text = f"{mean_sd(cell.scores)} ({runs}){marks}"
    numbers = {"mean": stats.mean(cell.scores), "sd": stats.sd(cell.scores), "n": cell.n}
    return Cell(text, "" if cell.complete else "hole", numbers)


def name_cell(grid: Grid, label: str, key: ColumnKey) -> Cell:
    """The row's name; ``kd (2/3 runs)`` where a mean over its runs lacks some."""
    cell = grid.cell(label, key)
    return (
        Cell(label) if cell.complete else Cell(f"{label} ({cell.n}/{cell.expected} runs)", "hole")
    )


def _teacher_row(grid: Grid, gains: int) -> Row:
    cells = [scores_cell(grid.teacher_accuracy(key)) for key in grid.columns]
    return Row([Cell("teacher"), *cells, *[DASH] * gains])


def _accuracy_notes(grid: Grid) -> list[str]:
    notes = [f"{grid.place(key)}: {_models_text(grid, key)}" for key in grid.columns]
    expected = grid.students
    lacking = expected[expected["state"] != FINISHED]
    if len(lacking):
        counts = {str(k): int(v) for k, v in lacking["state"].value_counts().items()}
        notes.append(
            f"{len(lacking)} of {len(expected)} runs have no result ({states_text(counts)}): their "
            "cells say so, and only complete cells can be bold."
        )
    return notes


def _code_notes(runs: pd.DataFrame) -> list[str]:
    """Which rows were made by other code than the rest, and than is here now; modules by name."""
    notes = []
    other = _labels_by(runs[runs["stale"]], "stale_modules")
    if other:
        notes.append(f"{STALE} some runs were made by other code than most: {other}.")
    since = _labels_by(runs[runs["changed_since"] != ""], "changed_since")
    if since:
        notes.append(f"Code that has changed here since these runs were made: {since}.")
    return notes


def _teacher_notes(students: pd.DataFrame) -> list[str]:
    """Whose differences may be those of teachers."""
    others = students[students["other_teacher"]]
    if others.empty:
        return []
    counts = others.drop_duplicates("run_id")["label"].value_counts(sort=False)
    named = ", ".join(f"{label}: {n} run{'s' if n > 1 else ''}" for label, n in counts.items())
    return [
        f"{TAUGHT} some runs were taught by other weights than most of their column ({named}): "
        "what tells them apart may be the teacher."
    ]


def _labels_by(runs: pd.DataFrame, column: str) -> str:
    """``baselines.dkd (dkd, 2 runs); ...``"""
    texts = []
    for modules, some in runs.groupby(column, sort=False):
        labels, count = ", ".join(dict.fromkeys(some["label"])), some["run_id"].nunique()
        texts.append(f"{modules} ({labels}: {count} run{'s' if count > 1 else ''})")
    return "; ".join(texts)


def _tuning_notes(grid: Grid) -> list[str]:
    """Where the settings of every row come from, as far as is known."""
    searched: dict[str, list[str]] = {}
    by_hand: dict[str, list[str]] = {}
    for label in grid.labels:
        for mark in grid.tuned(label):
            searched.setdefault(_tuning_text(mark), []).append(label)
        for images in grid.chosen_by_hand(label):
            by_hand.setdefault(images or "", []).append(label)
    notes = [f"{TUNED} {', '.join(labels)}: {text}." for text, labels in searched.items()]
    notes += [] if searched else ["No method was tuned by a search."]
    notes += [
        f"{HAND[images]}: {', '.join(by_hand[images])}." for images in HAND if images in by_hand
    ]
    return notes


def _tuning_text(mark: dict[str, Any]) -> str:
    text = f"tuned by search {mark.get('search', '?')}"
    text += f", {mark['trials']} trials" if "trials" in mark else ""
    text += f", on the {mark['split']} split" if "split" in mark else ""
    return text + (f" of {pair_name(str(mark['pair']))}" if mark.get("pair") else "")


def _models_text(grid: Grid, key: ColumnKey) -> str:
    teacher, student = grid.models(key)
    runs = grid.students_of(key)
    epochs = (
        sorted({int(n) for n in runs["config/epochs"].dropna()}) if "config/epochs" in runs else []
    )
    length = f", {' or '.join(map(str, epochs))} epochs" if epochs else ""
    return f"{student} taught by {teacher or 'nobody'}, recipe {key.recipe}{length}"


def _datasets(grid: Grid) -> str:
    return ", ".join(dict.fromkeys(key.dataset for key in grid.columns))


def _seeds(grid: Grid) -> str:
    n = len(grid.seeds)
    teachers = {teacher for _, teacher in grid.replicates}
    crossed = f", each with {len(teachers)} teachers" if len(teachers) > 1 else ""
    return f"{n} seed{'s' if n > 1 else ''}: {', '.join(map(str, grid.seeds))}{crossed}."
