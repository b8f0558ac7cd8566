"""Every method against the references, seed by seed: what the model of all runs does not say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.runs.grid import Grid
from analysis.statistics import power, stats
from analysis.statistics.signed_ranks import signed_rank_p, smallest_p
from analysis.statistics.stats import Array
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import DASH, number, number_cell, p_cell, seeds_text
from analysis.tables.gains import references
from analysis.tables.inputs import Inputs

ORDER = 50
WANTED = 0.3
"""Points that a study of this field would like to see."""


def tables(inputs: Inputs) -> Iterator[Table]:
    """The comparisons, where the experiment has a reference."""
    yield from comparisons(inputs.grid)


@dataclass(frozen=True)
class _Compared:
    label: str
    reference: str
    left: Array
    right: Array

    @property
    def differences(self) -> Array:
        """Of the runs that both have."""
        return stats.present(stats.paired_differences(self.left, self.right))


def comparisons(grid: Grid) -> Iterator[Table]:
    """Every method against scratch and KD, paired by replicate and pair."""
    found = [
        _Compared(label, reference, grid.array(label), grid.array(reference))
        for place, reference in enumerate(references(grid))
        for label in grid.labels
        if label not in references(grid)[: place + 1]  # each pair of rows once
    ]
    if not found:
        return
    ranks = _wilcoxon(found)
    rows = []
    for place, it in enumerate(found):
        differences = it.differences
        spread, n = stats.sd(differences), len(differences)
        cells = [
            Cell(it.label),
            Cell(it.reference),
            Cell(str(n)),
            number_cell(stats.probability_of_improvement(it.left, it.right), 2),
            ranks[place],
            number_cell(stats.correlation_of_pairs(it.left, it.right), 2),
            _detectable(spread, n),
            _seeds(spread, n),
        ]
        new_block = place > 0 and found[place - 1].reference != it.reference
        rows.append(Row(cells, it.label, rule_above=new_block))
    headers = [
        "n", "P(better)", "p (Wilcoxon)", "correlation", "detectable", f"seeds for {WANTED:g}",
    ]  # fmt: skip
    yield Table(
        name="comparisons",
        title="Seed by seed",
        columns=[Column("Method", "l"), Column("against", "l"), *map(Column, headers)],
        rows=rows,
        caption=(
            "Runs that share seed, pair, teacher and recipe. Sizes of the differences and their "
            "intervals are in the table of differences."
        ),
        notes=(
            "P(better): chance that a run of the method beats a run of the reference.",
            f"p (Wilcoxon): exact, Holm-corrected over the rows ({len(found)}); a dash where so "
            "few runs cannot reach 5 %, whatever they say.",
            "correlation: of the runs that share a seed, within pairs. Where it is about 0, "
            "pairing by seed gains nothing.",
            "detectable: smallest true difference that so many pairs of runs find in 80 % of cases "
            f"(paired t test, 5 %); seeds for {WANTED:g}: pairs of runs needed to see {WANTED:g} "
            "points; in brackets what the 95 % interval of the deviation makes of it.",
        ),
    )


def _wilcoxon(found: list[_Compared]) -> list[Cell]:
    """Corrected p values; a dash where even differences of one sign would stay above 5 %."""
    raw = [signed_rank_p(it.differences) for it in found]
    corrected = stats.holm(raw)
    cells = []
    for it, one, of_all in zip(found, raw, corrected, strict=True):
        reachable = len(found) * smallest_p(it.differences) <= stats.ALPHA
        cell = p_cell(float(of_all), raw=one)
        cells.append(cell if reachable else Cell(DASH.text, numbers=cell.numbers))
    return cells


def _detectable(spread: float, n: int) -> Cell:
    low, middle, high = (power.minimum_detectable_difference(sd, n) for sd in _with_ends(spread, n))
    text = DASH.text if np.isnan(middle) else f"{middle:.2f} [{number(low, 1)}, {number(high, 1)}]"
    return Cell(text, numbers={"points": middle, "low": low, "high": high})


def _seeds(spread: float, n: int) -> Cell:
    """Pairs of runs; a program gets infinity for more than :data:`power.MOST_SEEDS`."""
    ends = _with_ends(spread, n)
    low, middle, high = (seeds_text(WANTED, sd) for sd in ends)
    if middle == DASH.text:
        return DASH
    counts = [_count(power.seeds_needed(WANTED, sd)) if sd > 0 else np.nan for sd in ends]
    numbers = dict(zip(("low", "runs", "high"), counts, strict=True))
    return Cell(f"{middle} [{low}, {high}]", numbers=numbers)


def _count(seeds: int | None) -> float:
    return np.inf if seeds is None else float(seeds)


def _with_ends(spread: float, n: int) -> tuple[float, float, float]:
    """A standard deviation between the ends of its 95 % interval."""
    interval = stats.sd_interval(spread, n)
    return interval.low, spread, interval.high
