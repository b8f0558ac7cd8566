"""Every method against the references by one model of all runs, for every reach of the claim."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.statistics.design import Design
from analysis.statistics.differences import Differences, Scope, compare
from analysis.statistics.planning import Cost, Step, components, next_steps
from analysis.tables.accuracy import references
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import interval_cell, number, p_cell, signed_cell

REACH = {
    Scope.SEEDS: "same pairs, same teachers",
    Scope.TEACHERS: "same pairs, other teachers",
    Scope.PAIRS: "other pairs of this kind",
}
ONLY = "the only teacher"


def differences(grid: Grid) -> Table | None:
    """Differences to scratch and KD with simultaneous intervals; None without a model of them."""
    design = design_of(grid)
    against = [label for label in references(grid) if design and label in design.methods]
    if design is None or not against:
        return None
    found = {scope: compare(design, scope) for scope in Scope}
    known = [scope for scope in Scope if not np.isnan(found[scope].standard_error).all()]
    if not known:
        return None
    return Table(
        name="differences",
        title="Differences by one model of all runs",
        columns=[
            Column("Method", "l"),
            Column("against", "l"),
            Column("difference"),
            *(Column(text) for scope in known for text in (REACH[scope], "p")),
        ],
        rows=[
            _row(label, reference, [found[scope] for scope in known], rule_above=number == 0)
            for place, reference in enumerate(against)
            for number, label in enumerate(_others(design, against[: place + 1]))
        ],
        caption=(
            f"Points, with 95 % intervals and p values that hold together for all "
            f"{len(design.methods) * (len(design.methods) - 1) // 2} differences between the "
            f"{len(design.methods)} methods (Tukey-Kramer); {_size(design)}."
        ),
        notes=tuple(_notes(grid, design, known)),
    )


def design_of(grid: Grid) -> Design | None:
    """The finished runs of the methods that every pair and teacher has; None below two methods."""
    rows = pd.concat([_column_rows(grid, key) for key in grid.columns], ignore_index=True)
    units = rows[["pair", "teacher"]].drop_duplicates()
    places = rows.drop_duplicates(["method", "pair", "teacher"])["method"].value_counts()
    if (places == len(units)).sum() < 2:
        return None
    return Design.complete(rows)


def _column_rows(grid: Grid, key: ColumnKey) -> pd.DataFrame:
    """The runs of one column; those without a teacher stand beside each teacher of the others."""
    students, figure = grid.students, grid.figure_of(key)
    runs = students[(students["column"] == key) & (students["state"] == FINISHED)]
    rows = pd.DataFrame(
        {
            "method": runs["label"],
            "taught": runs["teacher"].notna(),
            "pair": "/".join(key),
            "teacher": runs.get("teacher_run_id"),
            "run": runs["directory"],
            "score": runs[figure].astype(float) if figure in runs else np.nan,
        }
    )
    rows["teacher"] = rows["teacher"].where(rows["teacher"].notna() | ~rows["taught"], ONLY)
    teachers = list(rows.loc[rows["taught"], "teacher"].unique()) or [ONLY]
    beside = (
        rows[~rows["taught"]]
        .drop(columns="teacher")
        .merge(pd.Series(teachers, name="teacher"), how="cross")
    )
    return pd.concat([rows[rows["taught"]], beside])


def _others(design: Design, left_out: list[str]) -> list[str]:
    return [label for label in design.methods if label not in left_out]


def _row(label: str, reference: str, found: list[Differences], *, rule_above: bool) -> Row:
    one, other = (found[0].methods.index(name) for name in (label, reference))
    difference = float(found[0].difference[one, other])
    cells = [Cell(label), Cell(reference), signed_cell(difference)]
    for some in found:
        half = float(some.half_width()[one, other])
        interval = stats.Interval(difference - half, difference + half)
        cells += [interval_cell(interval), p_cell(float(some.p()[one, other]))]
    return Row(cells, label, rule_above=rule_above)


def _size(design: Design) -> str:
    pairs = int(design.pair_of_unit.max()) + 1
    return (
        f"{len(design.runs)} runs over {pairs} pair{'s' * (pairs > 1)} and "
        f"{len(design.units)} teacher{'s' * (len(design.units) > 1)}"
    )


def _notes(grid: Grid, design: Design, known: list[Scope]) -> list[str]:
    found = components(design)
    named = {"seed": found.seed, "teacher": found.teacher, "pair": found.pair}
    parts = [
        f"{name} {number(float(np.sqrt(value)), 2)}"
        for name, value in named.items()
        if not np.isnan(value)
    ]
    notes = [
        "An interval holds for what its header says; differences between pairs and between "
        "teachers are chance only in those that name other pairs or other teachers.",
    ]
    if parts:
        notes.append(
            "Standard deviations, in points, of what a difference between taught methods is made "
            f"of: {', '.join(parts)}."
        )
    if Scope.TEACHERS not in known:
        notes.append("One teacher a pair: another teacher may change every difference.")
    left_out = [label for label in grid.labels if label not in design.methods]
    if left_out:
        notes.append(f"Not in every pair, so left out: {', '.join(left_out)}.")
    steps = next_steps(design, _cost(grid))
    if steps:
        notes.append(f"What to train next, best first: {'; '.join(map(_step_text, steps))}.")
    return notes


def _step_text(step: Step) -> str:
    more = {
        "seed": "a seed more",
        "teacher": "a teacher more for every pair",
        "pair": "a pair more",
    }
    return (
        f"{more[step.what]} ({step.hours:.2g} h of one device) makes standard errors "
        f"{100 * (1 - step.half_width_ratio):.0f} % smaller"
    )


def _cost(grid: Grid) -> Cost:
    """Mean seconds of the runs so far."""
    student = _mean_seconds(grid.students)
    teacher = _mean_seconds(grid.collected.teachers())
    return Cost(student, student if np.isnan(teacher) else teacher)


def _mean_seconds(runs: pd.DataFrame) -> float:
    seconds = runs.get("train_seconds", pd.Series(dtype=float))
    return stats.mean(pd.to_numeric(seconds, errors="coerce"))
