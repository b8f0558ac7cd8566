"""The runs that a page lists, one row each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.collect import Collected
from analysis.runs.grid import TEST, VALIDATION, pair_name

LISTED = 500
"""Runs that the page of a report names; ``runs.csv`` holds all."""

COLUMNS = (
    "run_id", "directory", "label", "pair", "dataset", "seed", "state", "reason", "train_seconds",
    TEST, VALIDATION,
)  # fmt: skip
"""What is read of the frame of runs, which has some hundred columns."""


@dataclass(frozen=True)
class ListedRun:
    """One run as a page shows it."""

    run_id: str
    label: str
    pair: str
    pair_name: str
    dataset: str
    seed: int
    state: str
    reason: str
    accuracy: float
    """Percent; NaN where there is none."""
    split: str
    """``test`` or ``validation``: where that accuracy was measured."""
    seconds: float
    """Of training, as its record says."""
    shared: bool
    """They are the share of a pack."""
    directory: str
    link: str
    """The run's directory as seen from the page; empty where it is not there."""


def listed(runs: pd.DataFrame, collected: Collected, folder: Path) -> list[ListedRun]:
    """Rows of ``collected.runs`` for a page in ``folder``."""
    unknown = [float("nan")] * len(runs)
    columns = [runs[name].tolist() if name in runs else unknown for name in COLUMNS]
    rows = (dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True))
    return [_row(row, collected.runs_root, folder) for row in rows]


def _row(run: Mapping[str, Any], runs_root: Path, folder: Path) -> ListedRun:
    directory = runs_root / str(run["directory"])
    tested = pd.notna(run[TEST])
    accuracy = run[TEST if tested else VALIDATION]
    return ListedRun(
        run_id=str(run["run_id"]),
        label=str(run["label"]),
        pair=str(run["pair"]),
        pair_name=pair_name(str(run["pair"])),
        dataset=str(run["dataset"]),
        seed=int(run["seed"]),
        state=str(run["state"]),
        reason=str(run["reason"]) if pd.notna(run["reason"]) else "",
        accuracy=_number(accuracy),
        split="test" if tested else "validation",
        seconds=_number(run.get("train_seconds", float("nan"))),
        shared=bool(run.get("packed", 1) > 1),
        directory=str(run["directory"]),
        link=Path(os.path.relpath(directory, folder)).as_posix() if directory.is_dir() else "",
    )


def _number(value: Any) -> float:
    return float(value) if pd.notna(value) else float("nan")
