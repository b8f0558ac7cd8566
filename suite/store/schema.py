"""The record as a format that others can write: a JSON Schema, and what is wrong with a record."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = ()
"""The way of a record from each version to the next, the first from version 1.

Another layout of ``result.json`` gets another ``record.schema.json`` and a step here. Files stay as
they were written: whoever reads them across versions takes :func:`current`.
"""


def version() -> int:
    """Of the records that this code writes."""
    return 1 + len(STEPS)


@functools.cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    text = resources.files(__package__).joinpath("record.schema.json").read_bytes()
    return Draft202012Validator(json.loads(text))


def faults(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with a ``result.json``, a line for each field; none: it is a record.

    Args:
        record: The parsed content.

    Returns:
        Lines such as ``last/test/top1_percent: 9135 is greater than the maximum of 100``.
    """
    refused = foreign(record)
    if refused:
        return [refused]
    errors = _validator().iter_errors(current(record))
    return [_line(error) for error in sorted(errors, key=lambda error: list(error.absolute_path))]


def foreign(record: Mapping[str, Any]) -> str:
    """Why a record cannot be read as of any version that is known here; empty if it can."""
    said = record.get("record_version", 1)  # which records of version 1 may leave out
    if type(said) is int and 1 <= said <= version():  # True is no version, nor is 1.0
        return ""
    known = "1" if version() == 1 else f"1 to {version()}"
    return f"record_version: {said!r}, this version of dskd-bench reads {known}"


def current(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of an older version as one of this; one that is not :func:`foreign`."""
    first = record.get("record_version", 1)
    changed = dict(record)
    for number, step in enumerate(STEPS[first - 1 :], start=first):
        changed = step(changed) | {"record_version": number + 1}
    return changed


def _line(error: Any) -> str:
    field = "/".join(map(str, error.absolute_path))
    message = " ".join(error.message.split())[:200]
    return f"{field}: {message}" if field else message
