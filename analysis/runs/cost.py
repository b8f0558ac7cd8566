"""What a run costs alone: steps timed on the same kind of machine (``dskd-bench cost``).

``train_seconds`` of runs that trained side by side are equal shares of their pack's time; these
are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.statistics.medians import median_interval
from suite.store import cost

SECONDS, LOW, HIGH = "alone_seconds", "alone_seconds_low", "alone_seconds_high"
"""Columns of runs: seconds of all steps of a run alone, and the 95 % interval of that."""
CELL = ["role", "dataset", "recipe", "pair", "label"]
"""Runs that differ in seeds alone, and take the same time."""
MACHINE = ["provenance/device", "provenance/threads"]


class CellSeconds(NamedTuple):
    """What a run of a cell takes to train."""

    seconds: float
    """NaN where no run says it."""
    low: float
    high: float
    alone: bool
    """Whether its steps were timed alone on such a machine."""
    shared: bool
    """Whether all that is known are shares of packs."""


def add(runs: pd.DataFrame, files: Iterable[Path]) -> pd.DataFrame:
    """``runs`` with the columns :data:`SECONDS`, :data:`LOW` and :data:`HIGH`.

    A measurement is of all runs of its run's cell that trained on one device of its kind. Without
    any measurement there are no such columns.
    """
    entries = [entry for file in dict.fromkeys(files) for entry in cost.load(file)]
    measured = pd.DataFrame([_row(entry) for entry in entries])
    if measured.empty or any(name not in runs for name in MACHINE):
        return runs
    cells = runs[["run_id", *CELL]].drop_duplicates()
    of_cells = measured.merge(cells, on="run_id").drop_duplicates([*CELL, *MACHINE], keep="last")
    found = runs.merge(of_cells.drop(columns="run_id"), how="left", on=[*CELL, *MACHINE])
    one_device = found.get("ranks", pd.Series(1, found.index)).fillna(1) == 1
    wanted = (found["state"] == FINISHED) & one_device
    found[[SECONDS, LOW, HIGH]] = found[[SECONDS, LOW, HIGH]].where(wanted)
    return found


def to_time(runs: pd.DataFrame) -> pd.DataFrame:
    """The first finished run of each cell that trained on one device, each once."""
    done = runs[runs["state"] == FINISHED]
    if "ranks" in done:
        done = done[done["ranks"].fillna(1) == 1]
    return done.drop_duplicates(CELL).drop_duplicates("run_id")


def of_cell(runs: pd.DataFrame) -> CellSeconds:
    """Of finished runs of one method, pair and recipe: alone where that is known of all of them."""
    if SECONDS in runs and len(runs) and runs[SECONDS].notna().all():
        seconds, low, high = (stats.mean(runs[name]) for name in (SECONDS, LOW, HIGH))
        return CellSeconds(seconds, low, high, alone=True, shared=False)
    together = bool((runs["packed"] > 1).any()) if "packed" in runs else False
    booked = stats.mean(_booked(runs))
    return CellSeconds(booked, np.nan, np.nan, alone=False, shared=together)


def seconds_of(runs: pd.DataFrame) -> pd.Series[float]:
    """Seconds of every run: alone where that is known, else what its record says."""
    return runs[SECONDS].fillna(_booked(runs)) if SECONDS in runs else _booked(runs)


def shared(runs: pd.DataFrame) -> pd.Series[bool]:
    """Which runs have only the share of a pack for their time."""
    no = pd.Series(False, runs.index)
    packed = runs["packed"] > 1 if "packed" in runs else no
    return packed & runs[SECONDS].isna() if SECONDS in runs else packed


def _booked(runs: pd.DataFrame) -> pd.Series[float]:
    nothing = pd.Series(np.nan, runs.index, dtype=float)
    return pd.to_numeric(runs.get("train_seconds", nothing), errors="coerce")


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the whole run; the interval is that of the median over repeats."""
    of_run = np.array(entry["seconds"], dtype=np.float64) * entry["run_steps"] / entry["steps"]
    interval = median_interval(of_run)
    return {
        "run_id": entry["run_id"],
        **dict(zip(MACHINE, (entry[name] for name in cost.MACHINE), strict=True)),
        SECONDS: float(np.median(of_run)),
        LOW: interval.low,
        HIGH: interval.high,
    }
