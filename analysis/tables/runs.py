"""Every run of a report: one row each in ``runs.csv``, and a list for the page with links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.runs.collect import Collected
from analysis.runs.grid import TEST, VALIDATION, pair_name
from analysis.tables.render import inert

LISTED = 500
"""Runs that the page names; the file holds all."""


def to_csv(collected: Collected) -> str:
    """Everything that is known of every run in plain numbers, holes and reasons included."""
    frame = collected.runs.copy()
    for name in frame.select_dtypes(["object", "string"]):
        frame[name] = [inert(value) if isinstance(value, str) else value for value in frame[name]]
    return str(frame.to_csv(index=False, lineterminator="\n"))


def listed(collected: Collected, folder: Path) -> list[dict[str, Any]]:
    """The first runs: what, state, accuracy, and the run's directory as seen from ``folder``.

    ``link`` is empty where the directory is not there: a report from W&B, a run not yet started.
    """
    return [
        _entry(run, collected.runs_root, folder) for _, run in collected.runs[:LISTED].iterrows()
    ]


def _entry(run: pd.Series, runs_root: Path, folder: Path) -> dict[str, Any]:
    directory = runs_root / str(run["directory"])
    known = [f"{run[name]:.2f} %" for name in (TEST, VALIDATION) if pd.notna(run.get(name))]
    parts = [str(run["label"]), pair_name(str(run["pair"])), f"seed {run['seed']}"]
    return {
        "name": ", ".join(part for part in parts if part != "–"),
        "state": str(run["state"]),
        "accuracy": next(iter(known), ""),
        "directory": str(run["directory"]),
        "link": Path(os.path.relpath(directory, folder)).as_posix() if directory.is_dir() else "",
    }
