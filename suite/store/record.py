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
    """Replace a file in one step; after a crash it holds the old or the new content, whole.

    Args:
        path: The file; its folder is made.
        content: All bytes of it.

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
            file.write(content)
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
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, f"{text}\n".encode())


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
        kind = type(content).__name__
        raise RecordError(f"{path} is damaged: no JSON object ({kind}); delete it to make it anew")
    return content


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl`` up to the first torn or damaged line.

    Args:
        path: The file; one that is not there has no rows.

    Returns:
        One object a line, each with its ``epoch``.
    """
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
        """Add one row and have it on the disk before returning.

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
        """Drop later rows (they will be made again) and whatever a torn write left.

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
