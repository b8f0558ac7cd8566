"""What is known of run directories: one columnar file, valid while their files and our code are."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd

from analysis.runs.texts import SharedTexts
from suite.store import source
from suite.store.record import write_atomically

FILES = ("config.json", "result.json", "failure.json", "metrics.jsonl")
PACKAGES = dict.fromkeys(("analysis", "suite"), source.ROOT)

Facts = dict[str, Any]
FileState = dict[str, list[int]]
"""File name -> [mtime in ns, size in bytes], for the files of a run directory that exist."""


@functools.cache
def code_version(maker: str) -> str:
    """SHA-256 of the code that makes the facts: of the module ``maker`` and all that it imports.

    Facts made by another version are made anew.
    """
    return source.combined(source.hashes(source.behind((maker, __name__), PACKAGES)))


def file_state(directory: Path | str, names: Sequence[str] = FILES) -> FileState:
    """State of the files that facts are read from; empty for a run that never started."""
    state: FileState = {}
    for name in names:
        try:
            found = os.stat(f"{directory}/{name}")  # noqa: PTH116 (30,000 calls: twice as fast)
        except OSError:
            continue
        state[name] = [found.st_mtime_ns, found.st_size]
    if "result.json" in state:
        state.pop("metrics.jsonl", None)  # a finished record does not depend on it
    return state


class FactsCache:
    """Run directory -> facts. Columns of JSON: 10,000 records load in a fraction of a second."""

    def __init__(
        self,
        maker: str,
        rows: dict[str, int] | None = None,
        states: list[FileState] | None = None,
        columns: dict[str, list[Any]] | None = None,
    ) -> None:
        self._maker = maker
        self._rows = rows or {}
        self._states = states or []
        self._texts = SharedTexts()
        found = columns or {}
        self._columns = {name: self._texts.all(name, found.pop(name)) for name in list(found)}

    @classmethod
    def load(cls, path: Path | None, maker: str) -> Self:
        """The cache in ``path`` of facts that the module ``maker`` makes.

        An empty one if there is none, it is damaged, or other code made it.
        """
        if path is None:
            return cls(maker)
        try:
            content = json.loads(path.read_bytes())
            if content["made_by"] != code_version(maker):
                return cls(maker)
            directories, states = content["directories"], content["states"]
            columns = content["columns"]
        except (OSError, ValueError, KeyError, TypeError):
            return cls(maker)
        return cls(maker, {name: row for row, name in enumerate(directories)}, states, columns)

    def save(self, path: Path) -> None:
        """Replace the file in one step."""
        content = {
            "made_by": code_version(self._maker),
            "directories": list(self._rows),
            "states": self._states,
            "columns": self._columns,
        }
        write_atomically(path, json.dumps(content, separators=(",", ":")).encode())

    def has(self, directory: str, state: FileState) -> bool:
        """True if the facts of ``directory`` are known for exactly these files."""
        row = self._rows.get(directory)
        return row is not None and self._states[row] == state

    def put(self, directory: str, state: FileState, facts: Facts) -> None:
        """Remember, replacing what was known."""
        row = self._rows.setdefault(directory, len(self._states))
        if row == len(self._states):
            self._states.append(state)
            for column in self._columns.values():
                column.append(None)
        self._states[row] = state
        for name, column in self._columns.items():
            if name not in facts:
                column[row] = None
        for name, value in facts.items():
            if name not in self._columns:
                self._columns[name] = [None] * len(self._states)
            self._columns[name][row] = self._texts.one(name, value)

    def frame(self, directories: Sequence[str]) -> pd.DataFrame:
        """Facts of these directories, indexed by them.

        What the record says of itself and the manifest says too (``run_id``, ``method``, ``seed``
        ...) is called ``<name>_of_record`` here.
        """
        rows = [self._rows[directory] for directory in directories]
        names = {name: _column_name(name) for name in self._columns}
        columns = {names[n]: [values[row] for row in rows] for n, values in self._columns.items()}
        return pd.DataFrame(columns, index=pd.Index(directories, name="directory"))

    def facts(self, directories: Sequence[str]) -> dict[str, Facts]:
        """Facts of these directories as they were put; what was not said is absent."""
        chosen = {directory: self._rows[directory] for directory in directories}
        return {
            directory: {
                name: values[row]
                for name, values in self._columns.items()
                if values[row] is not None
            }
            for directory, row in chosen.items()
        }


_SAID_TWICE = {
    "run_id", "experiment", "role", "label", "recipe", "method", "dataset", "student", "seed",
    "teacher", "pair", "directory",
}  # fmt: skip


def _column_name(name: str) -> str:
    return f"{name}_of_record" if name in _SAID_TWICE else name
