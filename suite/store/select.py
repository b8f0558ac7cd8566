"""Which epoch counts. Reported is the last; the others show what selection would have claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def epoch_summary(row: Row) -> dict[str, Any]:
    """The epoch and its evaluation figures (``val/...``, ``test/...``)."""
    kept = {key: value for key, value in row.items() if key.startswith(("val/", "test/"))}
    return {"epoch": row["epoch"], **kept}


def select(rows: Sequence[Row]) -> dict[str, dict[str, Any] | None]:
    """``last``, ``best_val`` and ``best_test`` epochs; None where the split was not evaluated.

    Among equals the earliest epoch is the best. ``best_test`` is never a reported result: it is
    kept to measure how much test-set selection would add.
    """
    return {
        "last": epoch_summary(rows[-1]),
        "best_val": _best(rows, "val/top1_percent"),
        "best_test": _best(rows, "test/top1_percent"),
    }


def _best(rows: Sequence[Row], key: str) -> dict[str, Any] | None:
    evaluated = [row for row in rows if key in row]
    if not evaluated:
        return None
    return epoch_summary(max(evaluated, key=lambda row: (row[key], -row["epoch"])))
