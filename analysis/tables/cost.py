"""What training and deployment take."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis import stats
from analysis.grid import ColumnKey, Grid, pair_name
from analysis.records import FINISHED
from analysis.render import Cell, Column, Row, Table
from analysis.tables.accuracy import name_cell
from analysis.tables.text import count, duration, mebibytes, number


def cost(grid: Grid) -> Table:
    """What training and deployment take, mean over the finished runs of a cell."""
    devices = ", ".join(sorted(_values(grid.students, "provenance/device")))
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
            hours = seconds / 3600
            scored = stats.mean(grid.cell(label, key).scores)
            cells = [
                Cell(pair_name(key.pair)),
                name_cell(grid, label, key),
                Cell(duration(seconds)),
                Cell(mebibytes(mean_of(runs, "peak_memory_bytes"))),
                Cell(count(mean_of(runs, "parameters/train_extra"))),
                Cell(count(deployed)),
                Cell(count(deployed - student, sign=True)),
                Cell(count(2 * mean_of(runs, "macs/deploy"))),
                Cell(number(scored / hours if hours else math.nan, 0 if hours < 1 else 1)),
            ]
            first = label == grid.labels[0] and bool(rows)
            rows.append(Row(cells, label, key.pair, rule_above=first))
    headers = [
        "training", "peak memory", "extra parameters (training)", "parameters (deployed)",
        "extra (deployed)", "FLOPs (deployed)", f"accuracy per {unit}",
    ]  # fmt: skip
    return Table(
        name="cost",
        title="Cost",
        columns=[Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption=f"Means over finished runs. Device: {devices or 'unknown'}.",
        notes=(
            f"accuracy per {unit}: top-1 (%) over hours of training on the device (the student's "
            "alone).",
            "FLOPs: of one image, two per multiply-add.",
            "peak memory: of the GPU, or the largest resident size of the process on a CPU.",
        ),
    ).without_constant("Pair")


def _finished(grid: Grid, label: str, key: ColumnKey) -> pd.DataFrame:
    runs = grid.runs(label, key)
    return runs[runs["state"] == FINISHED]


def mean_of(runs: pd.DataFrame, name: str) -> float:
    """Mean of a column; NaN where there is none."""
    return stats.mean(runs[name].to_numpy(dtype=np.float64)) if name in runs else math.nan


def _values(runs: pd.DataFrame, name: str) -> set[str]:
    return set(runs[name].dropna()) if name in runs else set()
