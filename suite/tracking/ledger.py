"""What of a run W&B already holds: ``wandb.json``, the offline folder, and the lock over both."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from suite.store.claims import holder
from suite.store.record import RecordError, RunDirectory, now, read_object, write_json
from suite.tracking.target import Target, TrackerError


class Busy(TrackerError):
    """Another process mirrors this run now."""


def is_over(run: RunDirectory, target: Target) -> bool:
    """Whether the run can be mirrored for good: it is finished, was pruned or, online, has failed.

    A run of a search waits for the verdict on its trial, so that W&B gets the trial's state.

    An offline folder cannot be continued by a later attempt, so that failed runs get none; that of
    a pruned run is made anew in the rare case that another trial goes on with it.
    """
    if _trial_state(run) == "running" and not run.failure.is_file():
        return False
    if run.finished() or (target.mode == "online" and run.failure.is_file()):
        return True
    return is_pruned(run) and holder(run.path) is None


def is_pruned(run: RunDirectory) -> bool:
    """Whether a search has stopped the run early."""
    return _trial_state(run) == "pruned"


def _trial_state(run: RunDirectory) -> str | None:
    state: str | None = (read_object(run.trial) or {}).get("state")
    return state


def is_recorded(run: RunDirectory, target: Target) -> bool:
    """Whether W&B holds the run as it is now, at this target.

    A run that is online needs no offline folder.
    """
    with suppress(RecordError):  # a damaged note means only that the run is mirrored again
        note = read_object(_note(run)) or {}
        sent_to = note.get("target")
        if isinstance(sent_to, dict) and note.get("fingerprint") == fingerprint(run):
            if target.mode == "online":
                return bool(sent_to == target.address())
            return sent_to.get("mode") == "online" or offline_folder(run).is_dir()
    return False


def record(run: RunDirectory, target: Target, place: str, mark: str) -> None:
    """Note that W&B holds the whole run; ``mark`` is its :func:`fingerprint` before sending."""
    note = {"target": target.address(), "place": place, "fingerprint": mark, "time": now()}
    write_json(_note(run), note)


def fingerprint(run: RunDirectory) -> str:
    """SHA-256 of what ends the run: its result, else failure and metrics; and its trial."""
    digest = hashlib.sha256()
    ends = [run.result] if run.finished() else [run.failure, run.metrics]
    for file in [*ends, run.trial]:
        with suppress(FileNotFoundError):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def offline_folder(run: RunDirectory) -> Path:
    """``offline-run-<end of the run>-<run id>``, the kind of name that ``wandb sync`` looks for."""
    result = run.read_result() or {}
    finished = result.get("provenance", {}).get("finished", "1970-01-01T00:00:00")
    stamp = finished[:19].replace("-", "").replace(":", "").replace("T", "_")
    return _shelf(run) / f"offline-run-{stamp}-{run.path.name}"


def remove_offline_folders(run: RunDirectory) -> None:
    """Forget what an earlier result of the run, or an earlier target, left."""
    for folder in _shelf(run).glob(f"offline-run-*-{run.path.name}"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(run: RunDirectory) -> Iterator[None]:
    """Hold the run for one mirror; the lock ends with its process. Raises :class:`Busy`."""
    handle = os.open(run.path / "wandb.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("another process mirrors it now") from None
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch(run: RunDirectory) -> Iterator[Path]:
    """A hidden, empty folder for wandb, removed at the end; also one that a killed mirror left."""
    _shelf(run).mkdir(exist_ok=True)
    for leftover in _shelf(run).glob(f".partial-{run.path.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".partial-{run.path.name}-", dir=_shelf(run)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _shelf(run: RunDirectory) -> Path:
    return run.path.parent / "wandb"


def _note(run: RunDirectory) -> Path:
    return run.path / "wandb.json"
