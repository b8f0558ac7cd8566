"""What a tracker already holds of a run: its note beside the run, and the lock over both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from suite.store.lease import holder
from suite.store.record import RecordError, RunDirectory, now, read_object, write_json
from suite.tracking.tracker import Tracker, TrackerError


class Busy(TrackerError):
    """Another process sends this run now."""


def is_over(run: RunDirectory, tracker: Tracker) -> bool:
    """Whether the run can be sent for good: it is finished, was pruned or, live, has failed.

    A run of a search waits for the verdict on its trial, so that the tracker gets its state. What
    is not live cannot be continued by a later attempt, so that failed runs are not sent there;
    a pruned run is sent anew in the rare case that another trial goes on with it.
    """
    if _trial_state(run) == "running" and not run.failure.is_file():
        return False
    if run.finished() or (tracker.is_live and run.failure.is_file()):
        return True
    return is_pruned(run) and holder(run.path) is None


def is_pruned(run: RunDirectory) -> bool:
    """Whether a search has stopped the run early."""
    return _trial_state(run) == "pruned"


def _trial_state(run: RunDirectory) -> str | None:
    state: str | None = (read_object(run.trial) or {}).get("state")
    return state


def is_recorded(run: RunDirectory, tracker: Tracker) -> bool:
    """Whether the tracker holds the run as it is now."""
    with suppress(RecordError):  # a damaged note means only that the run is sent again
        note = read_object(_note(run, tracker)) or {}
        sent_to = note.get("target")
        if isinstance(sent_to, dict) and note.get("fingerprint") == fingerprint(run):
            return tracker.holds(run, sent_to)
    return False


def record(run: RunDirectory, tracker: Tracker, location: str, mark: str) -> None:
    """Note that the whole run is there; ``mark`` is its :func:`fingerprint` before sending."""
    address = dict(tracker.address())
    note = {"target": address, "place": location, "fingerprint": mark, "time": now()}
    write_json(_note(run, tracker), note)


def fingerprint(run: RunDirectory) -> str:
    """SHA-256 of what ends the run: its result, else failure and metrics; and its trial."""
    digest = hashlib.sha256()
    ends = [run.result] if run.finished() else [run.failure, run.metrics]
    for file in [*ends, run.trial]:
        with suppress(FileNotFoundError):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def locked(run: RunDirectory, tracker: Tracker) -> Iterator[None]:
    """Hold the run for one uploader; the lock ends with its process. Raises :class:`Busy`."""
    lock = FileLock(run.path / f"{tracker.name}.lock", timeout=0, mode=0o666)
    try:
        with lock:
            yield
    except Timeout:
        raise Busy("another process sends it now") from None


def _note(run: RunDirectory, tracker: Tracker) -> Path:
    return run.path / f"{tracker.name}.json"
