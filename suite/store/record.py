"""The run directory: the truth about a run, written so that a kill at any moment loses nothing.

Files are replaced atomically; metrics are appended as JSON lines and a torn last line is ignored.
Layout: ``docs/run_store.md``. No torch here: sweep, status and analysis read thousands of records.
"""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from suite.interface.errors import UserError
from suite.names import TEACHERS, run_id_of

_UMASK = os.umask(0)
os.umask(_UMASK)  # the only way to read it is to set it
TAIL_BYTES = 64
EDITED = "is not the configuration of which the run id is the hash"
"""What is wrong with a ``config.json`` that somebody has changed."""


class RecordError(UserError):
    """A file of the run store cannot be read or written; the message names it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step; after a crash it holds the old or the new content, whole.

    Args:
        path: The file; its folder is made.
        content: All of it.

    Raises:
        RecordError: It cannot be written.
    """
    stream_atomically(path, lambda file: file.write(content))


def stream_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """As :func:`write_atomically`, by a function that writes.

    Args:
        path: The file; its folder is made.
        write: Gets the new, empty file.

    Raises:
        RecordError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o666 & ~_UMASK)  # mkstemp's own mode shuts colleagues out
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """Replace a file by indented JSON in one step.

    Args:
        path: The file; its folder is made.
        value: What :mod:`json` can write, without NaN and infinity.

    Raises:
        RecordError: It cannot be written.
        ValueError: NaN or infinity.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode())


def read_json(path: Path) -> Any | None:
    """The content of a JSON file.

    Args:
        path: The file.

    Returns:
        What it holds; None if it is not there.

    Raises:
        RecordError: It cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {error}; delete it to make it anew") from None


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file.

    Args:
        path: The file.

    Returns:
        The object; None if there is no file.

    Raises:
        RecordError: It cannot be read or is no JSON object.
    """
    content = read_json(path)
    if content is None and not path.exists():
        return None
    if not isinstance(content, dict):
        fault = f"no JSON object ({type(content).__name__})"
        raise RecordError(f"{path} is damaged: {fault}; delete it to make it anew")
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl`` up to the first torn or damaged line.

    Args:
        path: The file; one that cannot be read has no rows.

    Returns:
        See :func:`parse_rows`.
    """
    try:
        return parse_rows(path.read_bytes())
    except OSError:
        return []


def parse_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows of the content of a ``metrics.jsonl`` up to the first torn or damaged line.

    Args:
        content: One JSON object a line.

    Returns:
        One object an epoch, in order, each with its ``epoch``; the last one of a repeated epoch.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
            break
        rows[row["epoch"]] = row
    return [rows[epoch] for epoch in sorted(rows)]


def _is_closed(path: Path) -> bool:
    """Whether a file holds a JSON object up to its last brace: two reads, whatever its length.

    ``write_json`` puts the closing brace alone on the last line, so a file that was cut off ends
    differently. ``{}`` counts as damaged.
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
    complete = last_line == b"}" or (b"\n" not in end and end.endswith(b"}"))
    return head == b"{" and complete and end != b"{}"


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
    predictions = _File("predictions.npz")
    choices = _File("choices.npz")  # teachers of version 0.1.0
    trial = _File("trial.json")
    log = _File("log.txt")

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, runs_root: Path, experiment: str, run_id: str) -> RunDirectory:
        """The folder of one run.

        Args:
            runs_root: Folder of the run store.
            experiment: Name of the experiment.
            run_id: Id of the run.

        Returns:
            ``runs_root/experiment/run_id``, made or not.
        """
        return cls(runs_root / experiment / run_id)

    @classmethod
    def of_teacher(cls, runs_root: Path, run_id: str) -> RunDirectory:
        """The folder of a teacher; those of all experiments share one place.

        Args:
            runs_root: Folder of the run store.
            run_id: Id of the teacher's run.

        Returns:
            ``runs_root/teachers/run_id``, made or not.
        """
        return cls.of(runs_root, TEACHERS, run_id)

    def features_after(self, epoch: int) -> Path:
        """Where the features of the student during training are.

        Args:
            epoch: Counted from 1.

        Returns:
            Path of the features after that epoch.
        """
        return self.path / f"features-{epoch:04d}.npz"

    def start(self, config: Mapping[str, Any]) -> None:
        """Make the folder, write ``config.json`` and forget an earlier failure.

        Args:
            config: The resolved configuration, experiment, role, label and recipe.

        Raises:
            RecordError: It cannot be written.
        """
        write_json(self.config, config)
        self.failure.unlink(missing_ok=True)

    def read_config(self) -> dict[str, Any] | None:
        """The content of ``config.json``, None before the run was started.

        Raises:
            RecordError: It cannot be read, or its configuration is not that of the run's id.
        """
        spec = read_object(self.config)
        if spec is None:
            return None
        config = spec.get("config")
        if not isinstance(config, dict) or run_id_of(config) != self.path.name:
            raise RecordError(f"{self.config} {EDITED}; sweep again to mend it")
        return spec

    def finished(self) -> bool:
        """True once ``result.json`` is there and, by its first and last byte, complete."""
        return _is_closed(self.result)

    def read_result(self) -> dict[str, Any] | None:
        """The record of the finished run, None before that."""
        return read_object(self.result)

    def read_failure(self) -> dict[str, Any]:
        """Why the last attempt failed, or why that cannot be read; empty if it did not fail."""
        try:
            return read_object(self.failure) or {}
        except RecordError as damaged:
            return {"error": str(damaged)}

    def read_metrics(self) -> list[dict[str, Any]]:
        """One row an epoch, in order."""
        return read_rows(self.metrics)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Append one row; it is on the disk when this returns.

        Args:
            row: ``epoch`` and the metrics of it, finite numbers.

        Raises:
            RecordError: It cannot be written.
        """
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            with self.metrics.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordError(f"cannot write {self.metrics}: {error.strerror or error}") from None

    def keep_metrics_until(self, epoch: int) -> None:
        """Drop later rows (training writes them again) and what an interrupted write left.

        Args:
            epoch: The last one to keep.

        Raises:
            RecordError: The file cannot be written.
        """
        rows = [row for row in self.read_metrics() if row["epoch"] <= epoch]
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in rows]
        write_atomically(self.metrics, "".join(lines).encode())

    def write_failure(self, error: BaseException) -> None:
        """Keep the reason of a failure; the next attempt removes it.

        Args:
            error: What ended the run.

        Raises:
            RecordError: It cannot be written.
        """
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
