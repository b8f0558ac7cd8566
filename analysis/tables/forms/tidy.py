"""Frames as CSV of one value a cell: what is nested gets columns of its own, formulas do none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.tables.forms.render import inert

ROWS = 10_000
"""Turned into text at a time."""
_AS_JSON = json.JSONEncoder(sort_keys=True, default=str)


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write the frame; ``versions`` with objects becomes ``versions/torch``, lists ``mean/0``."""
    nested = {str(name): parts for name in frame if (parts := _nested(frame[name])) is not None}
    with path.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, max(len(frame), 1), ROWS):
            part = _flat(frame.iloc[start : start + ROWS], nested)
            part.to_csv(file, index=False, header=start == 0, lineterminator="\n")
    return path


def _nested(column: pd.Series[Any]) -> dict[str, dict[str, Any]] | None:
    """Name of a part -> text of the whole -> value; None for a column of plain values."""
    if not pd.api.types.is_object_dtype(column) and not pd.api.types.is_string_dtype(column):
        return None
    known = column.dropna()
    if known.empty or not _may_be_nested(known.iloc[0]):
        return None
    parts: dict[str, dict[str, Any]] = {}
    for text in dict.fromkeys(map(_text, known)):
        try:
            value = json.loads(text)
        except ValueError:
            return None
        if not isinstance(value, dict | list):
            return None
        for name, leaf in _leaves(value):
            parts.setdefault(name, {})[text] = leaf
    return parts


def _may_be_nested(value: Any) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and value[:1] in ("{", "["))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _AS_JSON.encode(value)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Path joined by ``/`` and value of everything that holds nothing."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{name}/{key}")
    else:
        yield name, value


def _flat(frame: pd.DataFrame, nested: dict[str, dict[str, dict[str, Any]]]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in map(str, frame):
        values = frame[name]
        if name in nested:
            texts = [_text(value) if _may_be_nested(value) else None for value in values]
            for part, of_text in nested[name].items():
                found = [None if text is None else of_text.get(text) for text in texts]
                columns[f"{name}{part}"] = _inert(pd.Series(found, dtype=object))
        else:
            columns[name] = _inert(values)
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _inert(values: pd.Series[Any]) -> pd.Series[Any]:
    if not pd.api.types.is_object_dtype(values) and not pd.api.types.is_string_dtype(values):
        return values
    each = values.to_numpy(dtype=object)  # a column of texts hands out one by one slowly
    if pd.api.types.is_object_dtype(values):
        texts = [inert(value) if isinstance(value, str) else value for value in each]
    else:  # few of them differ
        known = {text: inert(text) if isinstance(text, str) else text for text in set(each)}
        texts = [known[text] for text in each]
    return pd.Series(texts, values.index, dtype=object)
