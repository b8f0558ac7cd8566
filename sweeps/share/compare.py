"""Where two results of one run depart: in which epoch first, in which figure, by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CLOCK = ("seconds",)
"""What differs between two trainings of the same bits."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Departure:
    """The first difference."""

    figure: str
    ours: Any
    theirs: Any
    epoch: int | None = None
    """None: the epochs agree and something after them does not."""

    def __str__(self) -> str:
        where = "after the last epoch" if self.epoch is None else f"in epoch {self.epoch}"
        by = ""
        if isinstance(self.ours, int | float) and isinstance(self.theirs, int | float):
            by = f" ({self.ours - self.theirs:+.3g})"
        return f"departs {where}: {self.figure} {_text(self.ours)}, was {_text(self.theirs)}{by}"


def first_departure(
    ours: Sequence[Row], theirs: Sequence[Row], our_weights: str, their_weights: str
) -> Departure | None:
    """None where rows of metrics, seconds apart, and the weights' hashes are the same."""
    for our_row, their_row in zip(ours, theirs, strict=False):
        for figure in sorted((our_row.keys() | their_row.keys()) - set(CLOCK)):
            pair = our_row.get(figure), their_row.get(figure)
            if pair[0] != pair[1]:
                return Departure(figure, *pair, epoch=int(our_row["epoch"]))
    if len(ours) != len(theirs):
        return Departure("number of epochs", len(ours), len(theirs))
    if our_weights != their_weights:
        return Departure("weights", our_weights[:12], their_weights[:12])
    return None


def accuracies(result: Row) -> dict[str, float]:
    """The accuracies in percent of the last epoch of a record."""
    last = result["last"]
    return {name: float(last[name]) for name in last if name.endswith("top1_percent")}


def _text(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
