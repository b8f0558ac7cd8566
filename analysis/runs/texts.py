"""One object for texts that are equal: 100,000 runs name the same few devices and methods.

Also in frames and their copies: pandas would give each text to Arrow, where it is installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pandas.api.extensions import ExtensionArray

MOST_TEXTS = 1000
"""A column of more different texts is one of names: few of them occur twice."""


class SharedTexts:
    """The texts of each column that were seen so far."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, str]] = {}

    def one(self, column: str, value: Any) -> Any:
        """``value``, or the equal text that this column had before."""
        if not isinstance(value, str):
            return value
        seen = self._seen.setdefault(column, {})
        return seen.get(value, value) if len(seen) >= MOST_TEXTS else seen.setdefault(value, value)

    def all(self, column: str, values: Iterable[Any]) -> list[Any]:
        """:meth:`one` for each."""
        return [self.one(column, value) for value in values]


def as_column(values: Sequence[Any]) -> ExtensionArray:
    """A column of a frame whose texts stay these objects."""
    with pd.option_context("mode.string_storage", "python"):
        return pd.Series(values).array
