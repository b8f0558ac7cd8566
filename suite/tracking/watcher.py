"""The uploader's loop: which run directories come, when to try, when to give up."""

from __future__ import annotations

import json
import os
import random
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from suite.interface.errors import UserError
from suite.store.record import RunDirectory, now
from suite.tracking import sync_state
from suite.tracking.tracker import Outcome, Tracker
from suite.tracking.uploader import OpenRun, upload

POLL_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 15.0, 600.0
"""Pause after a tracker did not answer, doubled each time."""
LAST_SECONDS = 60.0
"""How long after the worker's end the upload of a run may still begin."""
GIVE_UP_AFTER = 3
"""``sync`` gives up after this many failures of the tracker in a row."""

Report = Callable[[Outcome], None]
Step = Callable[[], Outcome | None]


class Inbox:
    """Run directories that the parent process writes into a pipe."""

    def __init__(self, descriptor: int, parent: int) -> None:
        self._descriptor, self._parent = descriptor, parent
        self._rest = b""
        self.open = True

    def receive(self, seconds: float) -> list[Path]:
        """What came within ``seconds``; ``open`` turns false once nothing more can come."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            # A forked relative of the parent may hold the pipe open after the parent's end.
            self.open = os.getppid() == self._parent
            return []
        content = os.read(self._descriptor, 65536)
        self.open = bool(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [Path(json.loads(line)) for line in lines]


def send_all(inbox: Inbox, tracker: Tracker, report: Report) -> None:
    """Send every run that is over, one after the other."""
    directories: list[Path] = []
    while inbox.open:
        directories += inbox.receive(POLL_SECONDS)
    failures = 0
    for directory in directories:
        if failures >= GIVE_UP_AFTER:
            report(
                Outcome(
                    directory.name, "failed", f"{tracker.title} did not answer for earlier runs"
                )
            )
            continue
        try:
            report(upload(directory, tracker))
            failures = 0
        except Exception as error:  # noqa: BLE001  (libraries may raise anything; the next run goes on)
            report(failed(directory, error, tracker))
            if not isinstance(error, UserError):
                failures += 1
                tracker.stop()


class Watcher:
    """Sends runs while they train (live trackers) or as they finish, then settles the rest."""

    def __init__(self, tracker: Tracker, report: Report) -> None:
        self._tracker, self._report = tracker, report
        self._watched: dict[Path, WatchedRun] = {}
        self._pause = Pause()

    def serve(self, inbox: Inbox) -> None:
        """Until the worker is gone, and a bounded time after that."""
        while inbox.open:
            for directory in inbox.receive(POLL_SECONDS):
                watched = WatchedRun(directory, self._tracker)
                self._watched.setdefault(directory, watched).begin()
            for run in list(self._watched.values()):
                if self._pause.over() and self._attempt(run, run.visit):
                    del self._watched[run.path]
        deadline = time.monotonic() + LAST_SECONDS
        for run in self._watched.values():
            if time.monotonic() < deadline:
                self._attempt(run, run.settle)
            else:
                self._report(Outcome(run.path.name, "failed", "no time was left"))

    def _attempt(self, run: WatchedRun, step: Step) -> bool:
        """Take a step; True when the run needs no further one. Faults are reported, not raised."""
        try:
            outcome = step()
        except sync_state.Busy:
            return False
        except Exception as error:  # noqa: BLE001  (libraries may raise anything; training goes on)
            self._report(failed(run.path, error, self._tracker, warn=not run.warned))
            run.warned = True
            run.leave()
            if isinstance(error, UserError):
                return True  # another try would meet the same
            self._recover()
            return False
        if outcome is None:
            return False
        if outcome.state == "sent":
            self._pause.end()
        self._report(outcome)
        return True

    def _recover(self) -> None:
        """The tracker did not answer, or its service has died: begin anew after a pause."""
        for run in self._watched.values():
            run.leave()
        self._tracker.stop()
        self._pause.begin()


class WatchedRun:
    """A run directory that a worker announced."""

    def __init__(self, path: Path, tracker: Tracker) -> None:
        self.path, self._run, self._tracker = path, RunDirectory(path), tracker
        self._open: OpenRun | None = None
        self._old_failure: int | None = None
        self.warned = False

    def begin(self) -> None:
        """A new attempt begins: a failure that is recorded now belongs to an earlier one."""
        self._old_failure = _modified_ns(self._run.failure)

    def visit(self) -> Outcome | None:
        """Send what is new; an outcome once the run is over."""
        if self._is_over():
            return self.settle()
        if self._tracker.is_live and self._run.config.is_file():
            self._open = self._open or OpenRun(self._run, self._tracker)
            self._open.update()
        return None

    def settle(self) -> Outcome:
        """The worker has left this run: send the rest of it."""
        if self._open is None:
            return upload(self.path, self._tracker)
        outcome = self._open.settle()
        self.leave()
        return outcome

    def leave(self) -> None:
        """Give up the open run; a later visit opens it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _is_over(self) -> bool:
        if self._run.failure.is_file() and not self._run.finished():
            return self._tracker.is_live and self._old_failure != _modified_ns(self._run.failure)
        return sync_state.is_over(self._run, self._tracker)


class Pause:
    """How long to leave a tracker alone after it did not answer; spread, since many jobs wait."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS
        self._until = 0.0
        self._random = random.Random()  # differs between processes, on purpose

    def over(self) -> bool:
        """Whether the tracker may be tried."""
        return time.monotonic() >= self._until

    def begin(self) -> None:
        """It did not answer."""
        self._until = time.monotonic() + self._seconds * self._random.uniform(0.5, 1.5)
        self._seconds = min(2 * self._seconds, LONGEST_PAUSE_SECONDS)

    def end(self) -> None:
        """It answers."""
        self._seconds = FIRST_PAUSE_SECONDS


def failed(path: Path, error: Exception, tracker: Tracker, warn: bool = True) -> Outcome:
    """The fault in one line; with ``warn`` it goes to the run's log too."""
    reason = " ".join(str(error).split())[:500] or type(error).__name__
    if warn:
        with suppress(OSError), RunDirectory(path).log.open("a") as log:
            log.write(
                f"{now()} WARNING {tracker.title}: {reason}; dskd-bench sync sends it later\n"
            )
    return Outcome(path.name, "failed", reason)


def _modified_ns(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
