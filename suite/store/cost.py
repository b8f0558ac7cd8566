"""What training steps take on a machine: ``cost.json`` in an experiment's folder.

One entry for each run and kind of machine that was timed. Imports no torch: reports read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.store.record import RecordError, read_object, write_json

FILE = "cost.json"
MACHINE = ("device", "threads")
"""What makes two machines one kind: the name of the device, and the CPU threads of a run."""


def save(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Add entries to the file, each in place of an older one of its run and kind of machine.

    Args:
        path: ``cost.json`` of an experiment, made or not.
        entries: ``run_id`` and what :data:`MACHINE` names; ``seconds``, the seconds of each repeat,
            of ``steps`` training steps each; ``run_steps``, the steps of the whole run; and with
            what they were made, as plain data.

    Raises:
        RecordError: The file cannot be written.
    """
    new = {_key(entry) for entry in entries}
    kept = [entry for entry in load(path) if _key(entry) not in new]
    write_json(path, {"measurements": [*kept, *entries]})


def read(content: bytes) -> list[dict[str, Any]]:
    """The entries of a file that comes from elsewhere.

    Args:
        content: All of it.

    Returns:
        As they were saved, in that order.

    Raises:
        RecordError: It is damaged, or an entry is not whole.
    """
    try:
        entries = json.loads(content)["measurements"]
    except (ValueError, LookupError, TypeError):
        entries = None
    if not isinstance(entries, list):
        raise RecordError("damaged: no list of measurements")
    for number, entry in enumerate(entries):
        if not _whole(entry):
            raise RecordError(f"damaged: measurements[{number}] is not whole")
    return entries


def unite(path: Path, entries: Sequence[dict[str, Any]]) -> list[str]:
    """Add the entries of whose run and kind of machine the file has none.

    Args:
        path: As for :func:`save`.
        entries: As for :func:`save`.

    Returns:
        The ids of runs of which the file has another entry for that kind of machine, which stays.

    Raises:
        RecordError: The file is damaged or cannot be written.
    """
    ours = {_key(it): it for it in (read(path.read_bytes()) if path.exists() else ())}
    new = [entry for entry in entries if _key(entry) not in ours]
    if new:
        write_json(path, {"measurements": [*ours.values(), *new]})
    return [it["run_id"] for it in entries if ours.get(_key(it), it) != it]


def load(path: Path) -> list[dict[str, Any]]:
    """The entries of a file.

    Args:
        path: As for :func:`save`.

    Returns:
        As they were saved, in that order; none of a file that is not there or damaged, and none
        that is not whole.
    """
    try:
        found = (read_object(path) or {}).get("measurements")
    except RecordError:
        return []
    return [it for it in found if _whole(it)] if isinstance(found, list) else []


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("run_id", *MACHINE))


def _whole(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(name), kind)
        for name, kind in {
            "run_id": str, "device": str, "threads": int, "steps": int, "run_steps": int,
            "seconds": list,
        }.items()
    ):  # fmt: skip
        return False
    numbers = entry["seconds"]
    positive = all(isinstance(it, int | float) and 0 < it < math.inf for it in numbers)
    return bool(numbers) and positive and entry["steps"] > 0 and entry["run_steps"] > 0
