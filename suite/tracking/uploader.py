"""Brings a tracker up to date with one run directory. Main thread of the uploader's process."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from suite.store.record import RunDirectory
from suite.tracking import sync_state
from suite.tracking.tracker import Outcome, Tracker


def upload(path: Path, tracker: Tracker) -> Outcome:
    """Send what the tracker lacks of a run that is over; calling it again changes nothing.

    Raises :class:`suite.tracking.tracker.TrackerError`, ``RecordError``, OSError, or what the
    tracker's library raises.
    """
    run = RunDirectory(path)
    if tracker.disabled:
        return Outcome(path.name, "skipped", tracker.disabled)
    if not sync_state.is_over(run, tracker):
        return Outcome(path.name, "skipped", "not finished")
    if sync_state.is_recorded(run, tracker):
        outcome = tracker.outcome(run)
        return Outcome(path.name, "skipped", "already sent") if outcome.state == "sent" else outcome
    try:
        with OpenRun(run, tracker) as opened:
            return opened.settle()
    except sync_state.Busy as error:
        return Outcome(path.name, "skipped", str(error))


class OpenRun:
    """A run directory and its open run at the tracker; a context manager.

    Raises :class:`suite.tracking.sync_state.Busy` when another process has the run open.
    """

    def __init__(self, run: RunDirectory, tracker: Tracker) -> None:
        self._run, self._tracker = run, tracker
        with ExitStack() as stack:
            stack.enter_context(sync_state.locked(run, tracker))
            self._upload = stack.enter_context(tracker.open(run))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the run to the next uploader."""
        self._stack.close()

    def update(self) -> None:
        """Send the rows that the tracker lacks."""
        self._upload.update()

    def settle(self) -> Outcome:
        """Send the rest and, if the run is over, note that the tracker has it."""
        over = sync_state.is_over(self._run, self._tracker)
        mark = sync_state.fingerprint(self._run)
        location = self._upload.settle()
        if over:
            sync_state.record(self._run, self._tracker, location, mark)
        return self._tracker.outcome(self._run)
