"""Every method against the references by one model of all runs, for every reach of the claim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.runs.cost import seconds_of
from analysis.runs.grid import Grid
from analysis.statistics import stats
from analysis.statistics.design import Design
from analysis.statistics.differences import Differences, Scope, compare
from analysis.statistics.planning import Cost, Step, components, next_steps
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH, interval_cell, number, p_cell, signed_cell
from analysis.tables.gains import references
from analysis.tables.inputs import Inputs

REACH = {
    Scope.SEEDS: "same pairs, same teachers",
    Scope.IMAGES: "and other test images",
    Scope.TEACHERS: "same pairs, other teachers",
    Scope.PAIRS: "other pairs of this kind",
}
MARGIN = 0.5
"""Points within which two methods count as equivalent."""
ORDER = 40


def tables(inputs: Inputs) -> Iterator[Table]:
    """The differences, where a model of them can be made."""
    found = differences(inputs)
    if found is not None:
        yield found


def differences(inputs: Inputs) -> Table | None:
    """Differences to scratch and KD with simultaneous intervals; None without a model of them."""
    grid, design = inputs.grid, inputs.design
    against = [label for label in references(grid) if design and label in design.methods]
    if design is None or not against:
        return None
    images = inputs.predicted.image_scores(design)
    found = {scope: compare(design, scope, images) for scope in Scope}
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
            *(
                column
                for scope in known
                for column in (Column(REACH[scope]), Column("p", name=f"{REACH[scope]} p"))
            ),
            Column("verdict", "l"),
        ],
        rows=[
            _row(label, reference, [found[scope] for scope in known], rule_above=number == 0)
            for place, reference in enumerate(against)
            for number, label in enumerate(_others(design, against[: place + 1]))
        ],
        caption=(
            "Points, with 95 % intervals and p values that hold together for all differences "
            f"between the {len(design.methods)} methods ({found[known[0]].procedure}); "
            f"{_size(design)}."
        ),
        notes=tuple(_notes(grid, design, known)),
    )


def _others(design: Design, left_out: list[str]) -> list[str]:
    return [label for label in design.methods if label not in left_out]


def _row(label: str, reference: str, found: list[Differences], *, rule_above: bool) -> Row:
    difference, first = found[0].interval(label, reference)
    cells = [Cell(label), Cell(reference), signed_cell(difference)]
    for some in found:
        cells.append(interval_cell(some.interval(label, reference)[1]))
        cells.append(p_cell(some.p_of(label, reference), raw=some.p_alone(label, reference)))
    return Row([*cells, Cell(verdict(first))], label, rule_above=rule_above)


def verdict(interval: stats.Interval) -> str:
    """What an interval of a difference allows to say; a dash without one."""
    if np.isnan(interval.low):
        return DASH.text
    if max(abs(interval.low), abs(interval.high)) < MARGIN:
        return f"equivalent within {MARGIN:g}"
    if interval.contains(0.0):
        return "open"
    return "higher" if interval.low > 0 else "lower"


def _size(design: Design) -> str:
    pairs = int(design.pair_of_unit.max()) + 1
    return (
        f"{design.groups['size'].sum()} runs over {pairs} pair{'s' * (pairs > 1)} and "
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
        f"verdict, of the first interval: equivalent within {MARGIN:g} when all of it lies within "
        f"{MARGIN:g} points of 0; else higher or lower when it leaves 0 out, and open when not: no "
        "difference was shown, and no equivalence.",
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
    """Mean seconds of the runs so far, alone where that was measured."""
    student = _mean_seconds(grid.students)
    teacher = _mean_seconds(grid.collected.teachers())
    return Cost(student, student if np.isnan(teacher) else teacher)


def _mean_seconds(runs: pd.DataFrame) -> float:
    return stats.mean(seconds_of(runs))
