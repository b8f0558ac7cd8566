"""What a method adds to the references, scratch and KD, by the model of all runs."""

from __future__ import annotations

from functools import cached_property

from analysis.runs.designs import design_of
from analysis.runs.grid import Grid
from analysis.statistics.differences import Differences, compare
from analysis.tables.forms.render import Cell
from analysis.tables.forms.text import DASH, difference_cell

REFERENCES = ("scratch", "kd")
"""Methods that gains are measured from."""


def references(grid: Grid) -> list[str]:
    """The rows that gains are measured from, where the experiment has them."""
    found = (grid.label_of(method) for method in REFERENCES)
    return [label for label in found if label is not None]


class Gains:
    """Differences to the references: same pairs, same teachers, trained again."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.references = references(grid)

    @cached_property
    def _all(self) -> Differences | None:
        """Of the methods that every pair has."""
        design = design_of(self._grid)
        return None if design is None else compare(design)

    def cell(self, label: str, reference: str) -> Cell:
        """``+0.50 [+0.10, +0.90]``; with ``(1/2 pairs)`` where the two share only some."""
        if label == reference:
            return DASH
        together = self._all
        if together is not None and {label, reference} <= set(together.methods):
            return difference_cell(*together.interval(label, reference))
        grid = self._grid
        shared = [
            key for key in grid.columns if grid.cell(label, key).n and grid.cell(reference, key).n
        ]
        design = design_of(grid, shared, (label, reference)) if shared else None
        if design is None:
            return Cell("no pair in common", "hole")
        some = len(shared) < len(grid.columns)
        after = f" ({len(shared)}/{len(grid.columns)} pairs)" if some else ""
        return difference_cell(*compare(design).interval(label, reference), after)

    def notes(self) -> list[str]:
        """What the cells say."""
        if not self.references:
            return []
        pairs = ", mean over pairs" if len(self._grid.columns) > 1 else ""
        together = self._all
        count = 0 if together is None else together.count
        how = "" if together is None else f" ({together.procedure})"
        several = f" that hold together for all {count} differences" if count > 1 else ""
        return [
            f"Gains in points{pairs}, with 95 % intervals{several}{how}: for these pairs and "
            "teachers, trained again."
        ]
