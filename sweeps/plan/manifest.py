"""Where a sweep's manifest lies. Imports no torch: the status board must be quick."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.names import experiment_name
from suite.store.record import RecordError, read_object

ROW = {"directory", "run_id", "label", "pair", "seed", "student"}
"""What a row of a manifest says at least."""
BEFORE_A_VALUE = ("=", ",", ":", "[", "{", "(", " ")
"""After one of these a quote opens a text; elsewhere it is an apostrophe."""


def manifest_path(experiment: str, settings: Sequence[str], runs_root: Path) -> Path:
    """``runs/<experiment>/manifest.json``; with overrides ``manifest-<hash>.json``."""
    overrides = tokens(settings)
    folder = runs_root / stem(experiment)
    if not overrides:
        return folder / "manifest.json"
    digest = hashlib.sha256(json.dumps(sorted(overrides)).encode()).hexdigest()[:8]
    return folder / f"manifest-{digest}.json"


def runs_of(manifest: Path) -> list[dict[str, Any]]:
    """The rows of a manifest. Raises :class:`suite.store.record.RecordError` for a damaged one."""
    rows = (read_object(manifest) or {}).get("runs")
    if isinstance(rows, list) and all(
        isinstance(row, dict) and row.keys() >= ROW and isinstance(row["directory"], str)
        for row in rows
    ):
        return rows
    raise RecordError(f"manifest {manifest} is damaged: no list of runs; sweep again to mend it")


def stem(experiment: str) -> str:
    """The experiment's name: its own, or that of the user's file. Raises :class:`UserError`."""
    own_file = experiment.endswith((".yaml", ".yml"))
    return experiment_name(Path(experiment).stem if own_file else experiment)


def tokens(settings: Sequence[str]) -> list[str]:
    """Split texts into KEY=VALUE; spaces inside brackets and quotes belong to the value."""
    split: list[str] = []
    for text in settings:
        depth, quote, current = 0, "", ""
        for character in text:
            if quote:
                quote = "" if character == quote else quote
            elif character in "\"'" and current.endswith(BEFORE_A_VALUE):
                quote = character
            else:
                depth += (character in "[{(") - (character in "]})")
            if character.isspace() and depth <= 0 and not quote:
                split.append(current)
                current = ""
            else:
                current += character
        split.append(current)
    return [token for token in split if token]
