"""What is known of run directories: one columnar file, valid while their files and our code are."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import pandas as pd

from analysis.runs.texts import SharedTexts, as_column
from suite.store import source
from suite.store.record import stream_atomically

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
    """Run directory -> facts, by columns.

    Its file has a line of JSON for what it says of itself, for the directories, for the states of
    their files and for each column: while it is read, one column is in memory twice.
    """

    def __init__(self, maker: str) -> None:
        self._maker = maker
        self._rows: dict[str, int] = {}
        self._states: list[str] = []
        self._columns: dict[str, list[Any]] = {}
        self._texts = SharedTexts()

    @classmethod
    def load(cls, path: Path | None, maker: str) -> Self:
        """The cache in ``path`` of facts that the module ``maker`` makes.

        An empty one if there is none, it is damaged, or other code made it.
        """
        known = cls(maker)
        if path is None:
            return known
        try:
            with path.open("rb") as file:
                known._read(file)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(maker)
        return known

    def _read(self, file: BinaryIO) -> None:
        """Raises ``OSError``, ``ValueError``, ``KeyError`` or ``TypeError`` for a damaged file."""
        head = json.loads(file.readline())
        if head["made_by"] != code_version(self._maker):
            return
        self._rows = {name: row for row, name in enumerate(json.loads(file.readline()))}
        self._states = json.loads(file.readline())
        for name in head["columns"]:
            self._columns[name] = self._texts.all(name, json.loads(file.readline()))

    def save(self, path: Path) -> None:
        """Replace the file in one step."""
        head = {"made_by": code_version(self._maker), "columns": list(self._columns)}

        def parts() -> Iterator[object]:
            yield from (head, list(self._rows), self._states, *self._columns.values())

        def write(file: BinaryIO) -> None:
            for part in parts():
                file.write(json.dumps(part, separators=(",", ":")).encode() + b"\n")

        stream_atomically(path, write)

    def has(self, directory: str, state: FileState) -> bool:
        """True if the facts of ``directory`` are known for exactly these files."""
        row = self._rows.get(directory)
        return row is not None and self._states[row] == _text(state)

    def put(self, directory: str, state: FileState, facts: Facts) -> None:
        """Remember, replacing what was known."""
        row = self._rows.setdefault(directory, len(self._states))
        if row == len(self._states):
            self._states.append("")
            for column in self._columns.values():
                column.append(None)
        self._states[row] = _text(state)
        for name in facts:
            if name not in self._columns:
                self._columns[name] = [None] * len(self._states)
        for name, column in self._columns.items():
            value = facts.get(name)
            column[row] = self._texts.one(name, value) if isinstance(value, str) else value

    def into_frame(self, directories: Sequence[str]) -> pd.DataFrame:
        """Facts of these directories, indexed by them; the cache is empty afterwards.

        What the record says of itself and the manifest says too (``run_id``, ``method``, ``seed``
        ...) is called ``<name>_of_record`` here.
        """
        rows = [self._rows[directory] for directory in directories]
        columns = {}
        for name in list(self._columns):
            values = self._columns.pop(name)
            columns[_column_name(name)] = as_column([values[row] for row in rows])
        self._rows, self._states = {}, []
        return pd.DataFrame(columns, index=pd.Index(as_column(directories), name="directory"))

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


def _text(state: FileState) -> str:
    """A state as it is remembered: a dictionary for each of 100,000 runs would take 80 MB."""
    return " ".join(f"{name} {time} {size}" for name, (time, size) in state.items())


_SAID_TWICE = {
    "run_id", "experiment", "role", "label", "recipe", "method", "dataset", "student", "seed",
    "teacher", "pair", "directory",
}  # fmt: skip


def _column_name(name: str) -> str:
    return f"{name}_of_record" if name in _SAID_TWICE else name
