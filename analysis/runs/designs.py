"""The runs of a grid as a design: what the statistics of differences want."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.statistics.design import Design

ONLY = "the only teacher"


def design_of(
    grid: Grid, columns: Sequence[ColumnKey] = (), labels: Collection[str] = ()
) -> Design | None:
    """The finished runs of the methods that every pair and teacher has; None below two methods.

    Args:
        grid: All runs.
        columns: Those of the grid that count; empty for all.
        labels: Rows that count; empty for all.
    """
    rows = pd.concat([_rows(grid, key) for key in columns or grid.columns], ignore_index=True)
    if labels:
        rows = rows[rows["method"].isin(set(labels))]
    units = rows[["pair", "teacher"]].drop_duplicates()
    places = rows.drop_duplicates(["method", "pair", "teacher"])["method"].value_counts()
    if (places == len(units)).sum() < 2:
        return None
    return Design.complete(rows)


def _rows(grid: Grid, key: ColumnKey) -> pd.DataFrame:
    """The runs of one column; those without a teacher stand beside each teacher of the others."""
    students, figure = grid.students_of(key), grid.figure_of(key)
    runs = students[students["state"] == FINISHED]
    rows = pd.DataFrame(
        {
            "method": runs["label"],
            "taught": runs["teacher"].notna(),
            "pair": "/".join(key),
            "teacher": runs.get("teacher_run_id"),
            "run": runs["directory"],
            "score": runs[figure].astype(float) if figure in runs else np.nan,
        }
    ).dropna(subset=["score"])
    rows["teacher"] = rows["teacher"].where(rows["teacher"].notna() | ~rows["taught"], ONLY)
    teachers = list(rows.loc[rows["taught"], "teacher"].unique()) or [ONLY]
    beside = (
        rows[~rows["taught"]]
        .drop(columns="teacher")
        .merge(pd.Series(teachers, name="teacher"), how="cross")
    )
    return pd.concat([rows[rows["taught"]], beside])
