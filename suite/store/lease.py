"""One owner per run at a time, over processes and hosts that share the run store.

A lease is a small file, ``claim.json``, with its owner and a heartbeat (its modification time). It
ends when its owner releases it, when the owner's process is known to be dead (same host), when the
scheduler has started the owner's job again (a job runs on one host at a time), or when the
heartbeat is older than ``EXPIRY_SECONDS`` (another host, killed or cut off). Acquiring and taking
over happen under a lock that the kernel releases when the process ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from suite.store.record import write_json

HEARTBEAT_SECONDS = 10.0
EXPIRY_SECONDS = 120.0


class LeaseLost(RuntimeError):
    """Another process has taken the run over; this one must stop writing to it."""


class Lease:
    """A held lease; use as a context manager, or call :meth:`release`."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token
        self._released = threading.Event()
        self.lost = False
        """True once another process has taken over."""
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise :class:`LeaseLost` when another process has taken over."""
        if self.lost:
            raise LeaseLost(f"{self._path.parent}: taken over by another process")

    def release(self) -> None:
        """Give the run back."""
        self._released.set()
        self._thread.join()
        with locked(self._path):
            if _token(self._path) == self._token:
                self._path.unlink()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self._path)
                self.lost = _token(self._path) != self._token
            except FileNotFoundError:
                self.lost = True
            except OSError:
                continue  # a file system that hangs for a while: the next beat tries again
            if self.lost:
                return


def acquire(run: Path, job: str | None = None) -> Lease | None:
    """Acquire the lease of the run in this folder; None when somebody else holds it.

    ``job`` is the scheduler's id of the job this process belongs to, the same after a requeue.
    """
    path = run / "claim.json"
    run.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    with locked(path) as now:
        owner = holder(run, now)
        if owner is not None and not _is_earlier_start(owner, job):
            return None
        write_json(path, {**_owner(), "job": job, "token": token})
    return Lease(path, token)


def holder(run: Path, now: float | None = None) -> dict[str, Any] | None:
    """The live owner of the run's lease, or None."""
    path = run / "claim.json"
    try:
        age = (time.time() if now is None else now) - path.stat().st_mtime
        owner: dict[str, Any] = json.loads(path.read_bytes())
        _check(owner)
    except (OSError, ValueError, LookupError, TypeError):  # damaged: nobody can hold it
        return None
    if owner["host"] == platform.node():
        return owner if is_alive(owner["pid"], owner["process_started"]) else None
    # A heartbeat from the future: the clock was set back since, so nobody holds the lease.
    return owner if abs(age) < EXPIRY_SECONDS else None


def _check(owner: dict[str, Any]) -> None:
    """Raise LookupError or TypeError unless this module wrote the lease."""
    owner["process_started"], owner["token"]
    if not (isinstance(owner["host"], str) and isinstance(owner["pid"], int)):
        raise TypeError("host must be a text, pid a number")


def _is_earlier_start(owner: dict[str, Any], job: str | None) -> bool:
    """Whether the owner is this very job before it was requeued from another host."""
    return job is not None and owner.get("job") == job and owner["host"] != platform.node()


def is_alive(pid: int, started: str | None) -> bool:
    """Whether the process that had this id and start time still runs."""
    if started is not None:
        return process_started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def process_started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if it is gone (or not on Linux)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _owner() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": platform.node(), "pid": pid, "process_started": process_started(pid)}


def _token(path: Path) -> str | None:
    try:
        token: str = json.loads(path.read_bytes())["token"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
    return token


@contextmanager
def locked(path: Path) -> Iterator[float]:
    """Hold an exclusive lock, over processes and hosts, as long as the context lasts.

    The lock is a file beside ``path``. Yields the time by the file system's clock, which sets
    modification times and may differ from this host's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.utime(file.fileno())
        yield os.fstat(file.fileno()).st_mtime
