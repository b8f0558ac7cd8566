"""What the tables of a report are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from analysis.feature_gap.gap import Gaps
from analysis.runs.collect import Collected
from analysis.runs.designs import design_of
from analysis.runs.grid import Grid
from analysis.runs.predictions import Predicted
from analysis.statistics.design import Design


@dataclass(frozen=True)
class Inputs:
    """Everything that is known of the runs of a report."""

    grid: Grid
    gaps: Gaps

    @property
    def collected(self) -> Collected:
        """The runs themselves, those without a result included."""
        return self.grid.collected

    @cached_property
    def design(self) -> Design | None:
        """The finished runs of all methods that every pair has."""
        return design_of(self.grid)

    @cached_property
    def predicted(self) -> Predicted:
        """What the runs predict for single images."""
        return Predicted(self.grid)
