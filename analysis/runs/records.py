"""What the files of one run directory say, with nothing believed that cannot be.

A missing, unfinished, failed or damaged run has a state and a reason in place of figures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.runs.cache import Facts
from suite.store import schema
from suite.store.record import RecordError, RunDirectory, read_object, read_rows
from suite.store.states import State

FINISHED, UNFINISHED, FAILED = State.FINISHED.value, State.UNFINISHED.value, State.FAILED.value
MISSING, DAMAGED, CONFLICT = State.MISSING.value, State.DAMAGED.value, State.CONFLICT.value
STATES = (FINISHED, UNFINISHED, FAILED, MISSING, DAMAGED, CONFLICT)

OPTION = "options/"
"""Prefix of the columns that hold a method's options."""

AS_TEXT = {"provenance/versions", "provenance/source_modules"}
"""Objects of a record that stay in one piece, as JSON."""
TOO_LONG = ("provenance/source_modules", "data/class_names")
"""What a record says at length: read from it when it is needed."""

Rows = list[dict[str, Any]]
"""One object an epoch."""


def read_facts(directory: Path, files: Mapping[str, Any]) -> Facts:
    """Flat record of one run directory: ``state``, ``reason`` and the scalars of its files.

    ``files`` names the files that exist (see :func:`analysis.runs.cache.file_state`).
    """
    facts: Facts = {}
    if "config.json" in files:
        try:
            facts |= _config_facts(directory)
        except RecordError as error:
            return {"state": DAMAGED, "reason": str(error).replace(f"{directory}/", "")}
    if "result.json" in files:
        return facts | _result_facts(directory / "result.json")
    if "failure.json" in files:
        return facts | {"state": FAILED, "reason": _failure(directory / "failure.json")}
    if files:
        done = _last_epoch(directory / "metrics.jsonl")
        total = facts.get("config/epochs") or "?"
        return facts | {"state": UNFINISHED, "reason": f"epoch {done} of {total}"}
    return {"state": MISSING, "reason": "not started"}


def _config_facts(directory: Path) -> Facts:
    """What decides whether a run can stand beside a published figure, and the method's options.

    Raises ``RecordError`` for a configuration that is not the run's.
    """
    spec = RunDirectory(directory).read_config()
    if spec is None:  # removed a moment ago
        return {}
    config = spec["config"]
    options = _part(_part(config, "method"), "options")
    data, train = (_part(config, section) for section in ("data", "train"))
    return {
        "config/epochs": train.get("epochs"),
        "config/batch_size": train.get("batch_size"),
        "config/train_limit": data.get("train_limit"),
        "config/train_split": data.get("train_split"),
        **flatten(options, OPTION),
    }


def _part(config: dict[str, Any], section: str) -> dict[str, Any]:
    found = config.get(section)
    return found if isinstance(found, dict) else {}


def _result_facts(path: Path) -> Facts:
    result = _object(path)
    fault = _fault(result)
    if fault is not None:
        return {"state": DAMAGED, "reason": f"result.json: {fault}"}
    facts = flatten(schema.current(result))
    for name in TOO_LONG:
        facts.pop(name, None)
    return {"state": FINISHED, "reason": ""} | facts


def _fault(result: dict[str, Any]) -> str | None:
    """Why a record cannot be trusted, None if it can."""
    if not result:
        return "not readable as a JSON object"
    if refused := schema.foreign(result):
        return refused
    if not isinstance(result.get("run_id"), str):
        return "run_id is missing"
    for part in ("last", "best_val", "best_test"):
        summary = result.get(part)
        if summary is None and part != "last":
            continue
        if not isinstance(summary, dict):
            return f"{part} is no object"
        if not isinstance(summary.get("epoch"), int):
            return f"{part}.epoch is missing"
        for key, value in summary.items():
            if key.endswith("_percent") and not is_percent(value):
                return f"{part}.{key} is {value!r}, must be 0 to 100"
    if not any(key.endswith("/top1_percent") for key in result["last"]):
        return "last has no accuracy"
    return None


def is_percent(value: object) -> bool:
    """True for a number from 0 to 100."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 100  # type: ignore[operator,arg-type]


def flatten(value: Mapping[str, Any], prefix: str = "") -> Facts:
    """Nested objects to one level, joined by ``/``; lists become JSON text, versions too."""
    flat: Facts = {}
    _flatten_into(flat, value, prefix)
    return flat


def _flatten_into(flat: Facts, value: Mapping[str, Any], prefix: str) -> None:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if not isinstance(item, dict | list):
            flat[name] = item
        elif isinstance(item, dict) and name not in AS_TEXT:
            _flatten_into(flat, item, f"{name}/")
        else:
            flat[name] = json.dumps(item, sort_keys=True)


def _failure(path: Path) -> str:
    failure = _object(path)
    if not isinstance(failure.get("error"), str):
        return "failure.json is damaged"
    return f"{failure.get('kind', 'Error')}: {failure['error']}"


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty when it cannot be read as one."""
    try:
        return read_object(path) or {}
    except RecordError:
        return {}


def _last_epoch(path: Path) -> int:
    rows = read_rows(path)
    return int(rows[-1]["epoch"]) if rows else 0
