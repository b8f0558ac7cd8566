"""Rows of one method that differ in its options: ablations and grids."""

from __future__ import annotations

import pandas as pd

from analysis.runs.records import OPTION


def varying_options(runs: pd.DataFrame) -> list[str]:
    """Option columns with more than one value in ``runs`` (of one method), most values first."""
    names = [str(name) for name in runs if str(name).startswith(OPTION)]
    counts = {name: runs[name].nunique(dropna=True) for name in names}
    found = [name for name, count in counts.items() if count > 1]
    return sorted(found, key=lambda name: (-counts[name], name))


def grid_options(runs: pd.DataFrame) -> tuple[str, str] | None:
    """Two numeric options that form a grid (at least 2 x 2, half of its cells filled), or None.

    No third option may vary: a heat map would average over it.
    """
    names = varying_options(runs)
    if len(names) != 2 or not all(pd.api.types.is_numeric_dtype(runs[name]) for name in names):
        return None
    filled = len(runs[names].drop_duplicates())
    cells = runs[names[0]].nunique() * runs[names[1]].nunique()
    return (names[1], names[0]) if filled >= max(4, cells / 2) else None
