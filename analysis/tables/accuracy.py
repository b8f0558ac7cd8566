"""Methods x pairs: the table of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.runs.grid import TEST, ColumnKey, Grid, GridCell, pair_name, states_text
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import DASH, difference_cell, mean_sd

REFERENCES = ("scratch", "kd")
"""Methods that gains are measured from."""
STALE, TUNED = "†", "‡"


def accuracy(grid: Grid) -> Table:
    """Methods x pairs: mean ± sd (n); best bold, second underlined; gains over scratch and KD."""
    columns = [Column("Method", "l")]
    columns += [
        Column(name, group=key.pair)
        for name, key in zip(grid.column_names(), grid.columns, strict=True)
    ]
    compared = references(grid)
    columns += [Column(f"gain over {reference}") for reference in compared]
    marks = [_marks(grid, key) for key in grid.columns]
    rows = [_teacher_row(grid, len(compared))]
    for number, label in enumerate(grid.labels):
        cells = [
            score_cell(grid.cell(label, key), mark.get(label, ""))
            for key, mark in zip(grid.columns, marks, strict=True)
        ]
        gains = [_gain_cell(grid, label, reference) for reference in compared]
        name = Cell(label + (TUNED if grid.tuned(label) else ""))
        rows.append(Row([name, *cells, *gains], label, rule_above=number == 0))
    return Table(
        name="accuracy",
        title=_title(grid),
        columns=columns,
        rows=rows,
        caption=(
            f"Top-1 (%) of the last epoch on {_datasets(grid)}: mean ± standard deviation over "
            f"seeds (number of runs). {_seeds(grid)}"
        ),
        notes=_accuracy_notes(grid),
    )


def _title(grid: Grid) -> str:
    if len(grid.figures) > 1:
        return "Accuracy (test, or validation where the column says so)"
    return f"{'Test' if grid.figures == {TEST} else 'Validation'} accuracy"


def references(grid: Grid) -> list[str]:
    """The rows that gains are measured from, where the experiment has them."""
    found = (grid.label_of(method) for method in REFERENCES)
    return [label for label in found if label is not None]


def _marks(grid: Grid, key: ColumnKey) -> dict[str, str]:
    """Best and second by mean; only cells without holes compete, ties share the mark."""
    means = {
        label: round(stats.mean(cell.scores), 2)
        for label in grid.labels
        if (cell := grid.cell(label, key)).complete
    }
    levels = sorted(set(means.values()), reverse=True)[:2]
    names = dict(zip(levels, ("best", "second"), strict=False))
    return {label: names[value] for label, value in means.items() if value in names}


def score_cell(cell: GridCell, mark: str = "") -> Cell:
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
    stale = STALE if cell.stale else ""
    text = f"{mean_sd(cell.scores)} ({runs}){stale}"
    numbers = {"mean": stats.mean(cell.scores), "sd": stats.sd(cell.scores), "n": cell.n}
    return Cell(text, mark if cell.complete else "hole", numbers, competes=cell.complete)


def name_cell(grid: Grid, label: str, key: ColumnKey) -> Cell:
    """The row's name; ``kd (2/3 runs)`` where a mean over its runs lacks some."""
    cell = grid.cell(label, key)
    return (
        Cell(label) if cell.complete else Cell(f"{label} ({cell.n}/{cell.expected} runs)", "hole")
    )


def _teacher_row(grid: Grid, gains: int) -> Row:
    cells = [Cell("teacher")]
    for key in grid.columns:
        scores = grid.teacher_accuracy(key)
        numbers = {"mean": stats.mean(scores), "sd": stats.sd(scores), "n": len(scores)}
        text = f"{mean_sd(scores)} ({len(scores)})"
        cells.append(Cell(text, numbers=numbers) if len(scores) else DASH)
    return Row([*cells, *[DASH] * gains])


def _gain_cell(grid: Grid, label: str, reference: str) -> Cell:
    if label == reference:
        return DASH
    differences = stats.paired_differences(grid.array(label), grid.array(reference))
    if not len(stats.present(differences)):
        return Cell("no pair of runs", "hole")
    pairs, all_pairs = np.sum(~np.isnan(differences).all(axis=0)), len(grid.columns)
    some = f" ({pairs}/{all_pairs} pairs)" if pairs < all_pairs else ""
    return difference_cell(differences, some)


def _accuracy_notes(grid: Grid) -> list[str]:
    notes = [f"{grid.place(key)}: {_models_text(grid, key)}" for key in grid.columns]
    notes.append(
        "Gains are paired by seed"
        + (" and averaged over pairs" if len(grid.columns) > 1 else "")
        + ", in points, with the 95 % t interval of the mean difference."
    )
    expected = grid.students
    lacking = expected[expected["state"] != FINISHED]
    if len(lacking):
        counts = {str(k): int(v) for k, v in lacking["state"].value_counts().items()}
        notes.append(
            f"{len(lacking)} of {len(expected)} runs have no result ({states_text(counts)}): their "
            "cells say so, and only complete cells compete for best and second."
        )
    return [*notes, *_code_notes(grid.collected.runs), *_tuning_notes(grid)]


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


def _labels_by(runs: pd.DataFrame, column: str) -> str:
    """``baselines.dkd (dkd, 2 runs); ...``"""
    texts = []
    for modules, some in runs.groupby(column, sort=False):
        labels, count = ", ".join(dict.fromkeys(some["label"])), some["run_id"].nunique()
        texts.append(f"{modules} ({labels}: {count} run{'s' if count > 1 else ''})")
    return "; ".join(texts)


def _tuning_notes(grid: Grid) -> list[str]:
    """Which rows a search has tuned, and on what."""
    marks = {label: mark for label in grid.labels if (mark := grid.tuned(label)) is not None}
    if not marks:
        return ["No method was tuned by a search: all run with the settings of their recipe."]
    rest = [label for label in grid.labels if label not in marks]
    texts = [f"{TUNED} {label}: {_tuning_text(mark)}." for label, mark in marks.items()]
    return [*texts, *([f"Not tuned, settings of the recipe: {', '.join(rest)}."] if rest else [])]


def _tuning_text(mark: dict[str, Any]) -> str:
    text = f"tuned by search {mark.get('search', '?')}"
    text += f", {mark['trials']} trials" if "trials" in mark else ""
    text += f", on the {mark['split']} split" if "split" in mark else ""
    return text + (f" of {pair_name(str(mark['pair']))}" if mark.get("pair") else "")


def _models_text(grid: Grid, key: ColumnKey) -> str:
    teacher, student = grid.models(key)
    runs = grid.students[grid.students["column"] == key]
    epochs = (
        sorted({int(n) for n in runs["config/epochs"].dropna()}) if "config/epochs" in runs else []
    )
    length = f", {' or '.join(map(str, epochs))} epochs" if epochs else ""
    return f"{student} taught by {teacher or 'nobody'}, recipe {key.recipe}{length}"


def _datasets(grid: Grid) -> str:
    return ", ".join(dict.fromkeys(key.dataset for key in grid.columns))


def _seeds(grid: Grid) -> str:
    n = len(grid.seeds)
    return f"{n} seed{'s' if n > 1 else ''}: {', '.join(map(str, grid.seeds))}."
