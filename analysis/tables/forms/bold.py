"""Which cells of a column are bold: those that its runs cannot tell from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.runs.designs import design_of
from analysis.runs.grid import ColumnKey, Grid
from analysis.statistics.differences import compare
from analysis.tables.forms.render import Cell


@dataclass(frozen=True)
class Ties:
    """What the runs of a column cannot tell apart."""

    of: Mapping[str, list[str]]
    """Method -> the methods that are not told from it, itself included."""
    best: str

    def mark(self, cell: Cell, label: str) -> Cell:
        """The cell, bold where it is not told from the best."""
        if label not in self.of:
            return cell
        return replace(cell, mark="best" * (label in self.of[self.best]), tied=self.of[label])


def ties_of(grid: Grid, key: ColumnKey, labels: Sequence[str] = ()) -> Ties | None:
    """Of the complete cells of a column; None where nothing says how far seeds scatter.

    ``labels``: the rows that compete; empty for all.
    """
    complete = [label for label in labels or grid.labels if grid.cell(label, key).complete]
    design = design_of(grid, [key], complete) if complete else None
    found = None if design is None else compare(design)
    apart = None if found is None else found.told_apart()
    if found is None or apart is None:
        return None
    names = np.array(found.methods)
    rows = {str(name): names[~row].tolist() for name, row in zip(names, apart, strict=True)}
    return Ties(rows, found.methods[found.best()])


def bold_text(known: bool) -> str:
    """What a caption says of bold cells."""
    if known:
        return (
            "Bold: what these runs cannot tell from the best of its column (simultaneous 95 % "
            "intervals over its complete cells)."
        )
    return "Nothing is bold: no column has two methods with runs that say how far seeds scatter."
