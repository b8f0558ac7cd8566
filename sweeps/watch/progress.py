"""How far a run is, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def accuracy(rows: Sequence[dict[str, Any]]) -> str:
    """The newest validation accuracy, or test accuracy of runs without a validation split."""
    for key in ("val/top1_percent", "test/top1_percent"):
        found = [row[key] for row in rows if key in row]
        if found:
            return f"{key.partition('/')[0]} {found[-1]:.2f} %"
    return ""


def duration(seconds: float) -> str:
    """``3 h 07 min`` or ``4 min 09 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
