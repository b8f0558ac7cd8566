"""What training and deployment take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import cost as costs
from analysis.runs.cost import CellSeconds
from analysis.runs.grid import ColumnKey, Grid, pair_name
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.statistics.medians import median_interval
from analysis.tables.accuracy import name_cell
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import (
    DASH,
    count_cell,
    duration,
    durations,
    mebibytes,
    number,
    number_cell,
)
from analysis.tables.inputs import Inputs

LEAST_HOURS = 0.1
"""Shorter trainings have no accuracy per hour: reading data and compiling decide it."""
SHARED_TIME = (
    "(shared): runs that trained together share seed and teacher, and each is booked an equal "
    "share of their pack's time: such times depend on who was in the pack and do not compare "
    "methods. `dskd-bench cost` measures every method alone."
)
ALONE_TIME = (
    "With an interval: the training steps of one run timed alone on such a machine "
    "(`dskd-bench cost`), times their number; 95 % interval of the median over the repeats."
)


ORDER = 90


def tables(inputs: Inputs) -> Iterator[Table]:
    """What runs cost."""
    yield cost(inputs.grid)


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
            training = costs.of_cell(runs)
            student = mean_of(runs, "parameters/student")
            deployed = mean_of(runs, "parameters/deploy")
            memory = mean_of(runs, "peak_memory_bytes")
            scored = stats.mean(grid.cell(label, key).scores)
            cells = [
                Cell(grid.place(key)),
                name_cell(grid, label, key),
                training_cell(training),
                together_cell(runs),
                Cell(", ".join(sorted(_values(runs, "provenance/device")))),
                Cell(mebibytes(memory), numbers={"bytes": memory}),
                count_cell(mean_of(runs, "parameters/train_extra")),
                count_cell(deployed),
                count_cell(deployed - student, sign=True),
                count_cell(2 * mean_of(runs, "macs/deploy")),
                number_cell(_per_hour(scored, training), 1),
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
            f"training: seconds on the device, the student's alone. {ALONE_TIME} {SHARED_TIME}",
            f"together: runs that trained side by side; accuracy per {unit} (top-1 in percent over "
            f"hours of training) is given where training alone takes {LEAST_HOURS:g} h or more.",
            "FLOPs: of one image, two per multiply-add.",
            "peak memory: of the GPU, or the largest resident size of the process on a CPU; of all "
            "runs that trained together.",
        ),
    )
    for header in ("Pair", "device"):
        table = table.without_constant(header)
    rate = f"accuracy per {unit}"
    return table.without(rate) if table.texts(rate) <= {DASH.text} else table


def together_cell(runs: pd.DataFrame) -> Cell:
    """``1``, ``4``, or ``2–4``: how many runs trained side by side with each of these."""
    if "packed" not in runs or runs["packed"].isna().all():
        return DASH
    packed = stats.present(runs["packed"].to_numpy(dtype=np.float64))
    low, high = int(min(packed)), int(max(packed))
    text = str(low) if low == high else f"{low}–{high}"
    return Cell(text, numbers={"least": low, "most": high})


def training_cell(training: CellSeconds) -> Cell:
    """``3.1 min [3.0, 3.2]`` alone; ``80.7 s (shared)``; a program gets them in other columns."""
    if training.shared:
        text = f"{duration(training.seconds)} (shared)"
        return Cell(text, numbers={"shared seconds": training.seconds})
    numbers = {"seconds": training.seconds}
    if not training.alone:
        return Cell(duration(training.seconds), numbers=numbers)
    ends = {"low": training.low, "high": training.high}
    return Cell(durations(training.seconds, training.low, training.high), numbers=numbers | ends)


def measured(runs: pd.DataFrame, entries: Sequence[dict[str, Any]]) -> Table:
    """What ``dskd-bench cost`` has just timed: one row each, for the terminal."""
    named = runs.drop_duplicates("run_id").set_index("run_id")
    rows = []
    for entry in entries:
        run, steps = named.loc[entry["run_id"]], entry["steps"]
        each = [1000 * it / steps for it in entry["seconds"]]
        median, (low, high) = float(np.median(each)), median_interval(each)
        cells = [
            Cell(pair_name(run["pair"])),
            Cell(run["label"]),
            Cell(f"{number(median, 2)} [{number(low, 2)}, {number(high, 2)}]"),
            Cell(f"{entry['run_steps']:,}"),
            Cell(duration(median * entry["run_steps"] / 1000)),
        ]
        rows.append(Row(cells))
    headers = ["ms a step [95 %]", "steps of a run", "training alone"]
    columns = [Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)]
    devices = {f"{entry['device']}, threads: {entry['threads']}" for entry in entries}
    return Table("measured", f"Cost on {'; '.join(sorted(devices))}", columns, rows)


def _per_hour(accuracy: float, training: CellSeconds) -> float:
    hours = training.seconds / 3600
    return accuracy / hours if hours >= LEAST_HOURS and not training.shared else math.nan


def _finished(grid: Grid, label: str, key: ColumnKey) -> pd.DataFrame:
    runs = grid.runs(label, key)
    return runs[runs["state"] == FINISHED]


def mean_of(runs: pd.DataFrame, name: str) -> float:
    """Mean of a column; NaN where there is none."""
    return stats.mean(runs[name].to_numpy(dtype=np.float64)) if name in runs else math.nan


def _values(runs: pd.DataFrame, name: str) -> set[str]:
    return set(runs[name].dropna()) if name in runs else set()
