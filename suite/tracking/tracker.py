"""What a tracker is: where runs are sent, and one run that is open there.

A tracker is one file in ``trackers/`` or, in an installed package, an entry point.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol

from suite.interface.errors import UserError
from suite.store.record import RunDirectory


class TrackerError(UserError):
    """A run cannot be sent; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    run_id: str
    state: Literal["sent", "kept", "unsent", "skipped", "failed"]
    """``sent``: the tracker has it. ``kept``: in a local folder for it, as the user wants.
    ``unsent``: in such a folder since there is no key."""
    reason: str = ""


class Upload(Protocol):
    """One run that is open at a tracker."""

    def update(self) -> None:
        """Send the rows of metrics that the tracker lacks; the step is the epoch."""

    def settle(self) -> str:
        """Send the rest, check that the tracker has it, and return where it is."""


class Tracker(Protocol):
    """Where runs are sent. Whatever is raised is told in one line, and training goes on."""

    name: str
    """Of its file, its option and its notes in the run store (``wandb.json``, ``wandb.lock``)."""
    title: str
    """As people call it."""
    disabled: str
    """Why nothing is to be sent; empty: it is."""
    is_live: bool
    """Runs are followed while they train, and a failed one is sent, too; else finished runs are."""

    def address(self) -> Mapping[str, Any]:
        """Where to: part of the note on what was sent."""

    def holds(self, run: RunDirectory, sent_to: Mapping[str, Any]) -> bool:
        """Whether a run that was sent whole to the address ``sent_to`` need not be sent here."""

    def open(self, run: RunDirectory) -> AbstractContextManager[Upload]:
        """Begin to send a run, or go on with it. One process does so at a time."""

    def outcome(self, run: RunDirectory) -> Outcome:
        """What to say of a run that was sent."""

    def stop(self) -> None:
        """End whatever the tracker's library has started. Raises nothing."""


@contextmanager
def time_limit(seconds: float, call: str) -> Iterator[None]:
    """Raise TimeoutError in the main thread when the body takes longer than ``seconds``."""

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{call} took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
