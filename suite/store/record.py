"""The run directory: the truth about a run, written so that a kill at any moment loses nothing.

Files are replaced atomically; metrics are appended as JSON lines and a torn last line is ignored.
The layout is described in ``docs/run_store.md``. This module imports no torch: the sweep, the
status board and the analysis read thousands of records through it.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from suite.interface.errors import UserError
from suite.names import TEACHERS

_UMASK = os.umask(0)
os.umask(_UMASK)  # the only way to read it is to set it

TAIL_BYTES = 64


class RecordError(UserError):
    """A file of the run store cannot be read or written; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step; after a crash it holds the old or the new content, whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o666 & ~_UMASK)  # mkstemp's own mode shuts colleagues out
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by pretty JSON in one step. NaN and infinity are refused."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


def read_json(path: Path) -> Any | None:
    """The content of ``path``, None if it is not there. Raises :class:`RecordError`."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {error}; delete it to make it anew") from None


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in ``path``, None if there is no file. Raises :class:`RecordError`."""
    content = read_json(path)
    if content is None and not path.exists():
        return None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise RecordError(f"{path} is damaged: no JSON object ({kind}); delete it to make it anew")
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl`` up to the first torn or damaged line."""
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return rows
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
            break
        rows.append(row)
    return rows


def _is_closed(path: Path) -> bool:
    """Whether a JSON object is there to its last brace: two reads, whatever its length.

    ``write_json`` leaves the brace that closes the object alone on the last line, so that what is
    cut off anywhere ends otherwise. ``{}`` says nothing and counts as damaged.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            head = os.pread(file.fileno(), 1, 0)
            tail = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
    except OSError:
        return False
    end = tail.rstrip()
    last_line = end.rpartition(b"\n")[2]
    whole = last_line == b"}" or (b"\n" not in end and end.endswith(b"}"))
    return head == b"{" and whole and end != b"{}"


class _File:
    """A file of a run's folder; its path is made when asked for: status looks at thousands."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunDirectory, _: object = None) -> Path:
        return run.path / self._name


class RunDirectory:
    """Paths and files of one run."""

    config = _File("config.json")
    metrics = _File("metrics.jsonl")
    result = _File("result.json")
    failure = _File("failure.json")
    checkpoint = _File("checkpoint.pt")
    previous_checkpoint = _File("checkpoint.previous.pt")
    weights = _File("weights.safetensors")
    features = _File("features.npz")
    choices = _File("choices.npz")
    trial = _File("trial.json")
    log = _File("log.txt")

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, runs_root: Path, experiment: str, run_id: str) -> RunDirectory:
        """``runs_root/experiment/run_id``."""
        return cls(runs_root / experiment / run_id)

    @classmethod
    def of_teacher(cls, runs_root: Path, run_id: str) -> RunDirectory:
        """Teachers of all experiments share one place."""
        return cls.of(runs_root, TEACHERS, run_id)

    def features_after(self, epoch: int) -> Path:
        """Features of the student as it was after ``epoch``."""
        return self.path / f"features-{epoch:04d}.npz"

    def start(self, config: Mapping[str, Any]) -> None:
        """Make the folder, write ``config.json`` and forget an earlier failure."""
        write_json(self.config, config)
        self.failure.unlink(missing_ok=True)

    def finished(self) -> bool:
        """True once ``result.json`` is there, whole as far as its ends tell."""
        return _is_closed(self.result)

    def read_result(self) -> dict[str, Any] | None:
        """The record of the finished run, None before that."""
        return read_object(self.result)

    def read_failure(self) -> dict[str, Any]:
        """Why the last attempt failed; also where that cannot be read. Empty: it did not."""
        try:
            return read_object(self.failure) or {}
        except RecordError as damaged:
            return {"error": str(damaged)}

    def read_metrics(self) -> list[dict[str, Any]]:
        """One row an epoch, in order."""
        return read_rows(self.metrics)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one row and have it on the disk before returning. Raises :class:`RecordError`."""
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            with self.metrics.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordError(f"cannot write {self.metrics}: {error.strerror or error}") from None

    def keep_metrics_until(self, epoch: int) -> None:
        """Drop rows after ``epoch`` (they will be made again) and whatever a torn write left."""
        rows = [row for row in self.read_metrics() if row["epoch"] <= epoch]
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        write_atomically(self.metrics, "".join(lines).encode())

    def write_failure(self, error: BaseException) -> None:
        """Keep the reason; the next attempt removes it."""
        reason = " ".join(str(error).split()) or type(error).__name__
        write_json(
            self.failure,
            {
                "error": reason[:1000],
                "kind": type(error).__name__,
                "user_error": isinstance(error, UserError),
                "traceback": "".join(traceback.format_exception(error)),
                "time": now(),
            },
        )


def now() -> str:
    """UTC time in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
