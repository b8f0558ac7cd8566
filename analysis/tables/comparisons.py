"""Every method against the references, paired."""

from __future__ import annotations

from analysis.runs.grid import Grid
from analysis.statistics import power, stats
from analysis.tables.accuracy import references
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import interval_cell, number_cell, p_cell, seeds_text, signed_cell


def comparisons(grid: Grid) -> Table | None:
    """Every method against scratch and KD, paired by seed and pair; None without them."""
    found = [
        (reference, label, stats.paired_test(grid.array(label), grid.array(reference)))
        for place, reference in enumerate(references(grid))
        for label in grid.labels
        if label not in references(grid)[: place + 1]  # each pair of rows once
    ]
    if not found:
        return None
    p_t = stats.holm([test.p_t for _, _, test in found])
    p_wilcoxon = stats.holm([test.p_wilcoxon for _, _, test in found])
    rows = []
    for place, (reference, label, test) in enumerate(found):
        differences = stats.paired_differences(grid.array(label), grid.array(reference))
        spread = stats.sd(differences)
        cells = [
            Cell(label),
            Cell(reference),
            Cell(str(test.n)),
            signed_cell(test.mean),
            interval_cell(test.interval),
            p_cell(p_t[place]),
            p_cell(p_wilcoxon[place]),
            number_cell(_improvement(grid, label, reference), 2),
            number_cell(power.minimum_detectable_difference(spread, test.n), 2),
            Cell(seeds_text(0.3, spread)),
        ]
        new_block = place > 0 and found[place - 1][0] != reference
        rows.append(Row(cells, label, rule_above=new_block))
    headers = [
        "n", "difference", "95 % interval", "p (t)", "p (Wilcoxon)", "P(better)", "detectable",
        "seeds for 0.3",
    ]  # fmt: skip
    return Table(
        name="comparisons",
        title="Paired comparisons",
        columns=[Column("Method", "l"), Column("against", "l"), *map(Column, headers)],
        rows=rows,
        caption=(
            "Differences of runs that share seed, pair and recipe, in points. p values are "
            f"Holm-corrected over the {len(found)} rows."
        ),
        notes=(
            "P(better): chance that a run of the method beats a run of the reference.",
            "detectable: smallest true difference that so many pairs of runs find in 80 % of "
            "cases (paired t test, 5 %); seeds for 0.3: pairs of runs needed to see 0.3 points.",
            "A dash: too few runs, or differences that are all equal, of which a t test says "
            "nothing. p (Wilcoxon) is exact: with n = 3 it cannot fall below 0.25.",
        ),
    )


def _improvement(grid: Grid, label: str, reference: str) -> float:
    return stats.probability_of_improvement(grid.array(label), grid.array(reference))
