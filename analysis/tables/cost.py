"""What training and deployment take."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.accuracy import name_cell
from analysis.tables.render import Cell, Column, Row, Table
from analysis.tables.text import DASH, count_cell, duration, mebibytes, number_cell

LEAST_HOURS = 0.1
"""Shorter trainings have no accuracy per hour: reading data and compiling decide it."""
SHARED_TIME = (
    "Runs that trained together share seed and teacher, and each is booked an equal share of their "
    "pack's time: such times depend on who was in the pack and do not compare methods. "
    "`make bench ARGS='--only methods'` measures every method alone."
)


def cost(grid: Grid) -> Table:
    """What training and deployment take, mean over the finished runs of a cell."""
    found = sorted(_values(grid.students, "provenance/device"))
    devices = ", ".join(found)
    unit = "device-hour" if "cpu" in devices.lower() or not devices else "GPU-hour"
    rows: list[Row] = []
    for key in grid.columns:
        for label in grid.labels:
            runs = _finished(grid, label, key)
            if runs.empty:
                continue
            seconds = mean_of(runs, "train_seconds")
            student = mean_of(runs, "parameters/student")
            deployed = mean_of(runs, "parameters/deploy")
            memory = mean_of(runs, "peak_memory_bytes")
            scored = stats.mean(grid.cell(label, key).scores)
            cells = [
                Cell(grid.place(key)),
                name_cell(grid, label, key),
                Cell(duration(seconds), numbers={"seconds": seconds}),
                Cell(trained_together(runs)),
                Cell(", ".join(sorted(_values(runs, "provenance/device")))),
                Cell(mebibytes(memory), numbers={"bytes": memory}),
                count_cell(mean_of(runs, "parameters/train_extra")),
                count_cell(deployed),
                count_cell(deployed - student, sign=True),
                count_cell(2 * mean_of(runs, "macs/deploy")),
                number_cell(_per_hour(scored, runs), 1),
            ]
            first = label == grid.labels[0] and bool(rows)
            rows.append(Row(cells, label, key.pair, rule_above=first))
    headers = [
        "training", "together", "device", "peak memory", "extra parameters (training)",
        "parameters (deployed)", "extra (deployed)", "FLOPs (deployed)", f"accuracy per {unit}",
    ]  # fmt: skip
    table = Table(
        name="cost",
        title="Cost",
        columns=[Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption=f"Means over finished runs. Device: {devices or 'unknown'}.",
        notes=(
            f"training: seconds on the device, the student's alone. {SHARED_TIME}",
            f"together: runs that trained side by side; accuracy per {unit} (top-1 in percent over "
            f"hours of training) is given for runs that trained alone for {LEAST_HOURS:g} h or "
            "more.",
            "FLOPs: of one image, two per multiply-add.",
            "peak memory: of the GPU, or the largest resident size of the process on a CPU; of all "
            "runs that trained together.",
        ),
    )
    for header in ("Pair", "device"):
        table = table.without_constant(header)
    rate = f"accuracy per {unit}"
    return table.without(rate) if table.texts(rate) <= {DASH.text} else table


def trained_together(runs: pd.DataFrame) -> str:
    """``1``, ``4``, or ``2–4``: how many runs trained side by side with each of these."""
    if "packed" not in runs or runs["packed"].isna().all():
        return DASH.text
    packed = stats.present(runs["packed"].to_numpy(dtype=np.float64))
    low, high = int(min(packed)), int(max(packed))
    return str(low) if low == high else f"{low}–{high}"


def _per_hour(accuracy: float, runs: pd.DataFrame) -> float:
    hours = mean_of(runs, "train_seconds") / 3600
    return accuracy / hours if hours >= LEAST_HOURS and trained_together(runs) == "1" else math.nan


def _finished(grid: Grid, label: str, key: ColumnKey) -> pd.DataFrame:
    runs = grid.runs(label, key)
    return runs[runs["state"] == FINISHED]


def mean_of(runs: pd.DataFrame, name: str) -> float:
    """Mean of a column; NaN where there is none."""
    return stats.mean(runs[name].to_numpy(dtype=np.float64)) if name in runs else math.nan


def _values(runs: pd.DataFrame, name: str) -> set[str]:
    return set(runs[name].dropna()) if name in runs else set()
