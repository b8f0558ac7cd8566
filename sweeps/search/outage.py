"""A database that is gone for a while: the driver waits, then goes on from what the study holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from suite.interface.errors import UserError

Made = TypeVar("Made")
OUTAGE = (StorageInternalError, SQLAlchemyError)
"""What a database that does not answer raises, now from Optuna, now from SQLAlchemy."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
GIVE_UP_SECONDS = 1800.0
"""A restart takes seconds, an upgrade minutes; after half an hour a person should look."""


class StorageLost(UserError):
    """The study's database did not come back."""


def outlast(
    first: Callable[[], Made],
    tell: Callable[[str], None],
    again: Callable[[], Made] | None = None,
    give_up_seconds: float = GIVE_UP_SECONDS,
) -> Made:
    """What ``first()`` gives or, where the database is gone, ``again()`` once it answers.

    Raises :class:`StorageLost` as :func:`wait_for` does. Without ``again``, ``first`` is repeated.
    """
    try:
        return first()
    except OUTAGE as error:
        return wait_for(again or first, tell, give_up_seconds, error)


def wait_for(
    again: Callable[[], Made],
    tell: Callable[[str], None],
    give_up_seconds: float = GIVE_UP_SECONDS,
    reason: Exception | None = None,
) -> Made:
    """What ``again()`` gives once the database answers; pauses double from 1 s to 30 s.

    Raises :class:`StorageLost` after ``give_up_seconds``.
    """
    start, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    why = "" if reason is None else f" ({_in_one_line(reason)})"
    minutes = give_up_seconds / 60
    tell(f"the study's database does not answer{why}; waiting up to {minutes:.0f} min")
    while True:
        try:
            made = again()
        except OUTAGE as error:
            if time.monotonic() - start + pause > give_up_seconds:
                raise StorageLost(
                    f"the study's database did not answer for {give_up_seconds:.0f} s: "
                    f"{_in_one_line(error)}; nothing is lost: the same command goes on once it does"
                ) from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            tell(f"the study's database answers again after {time.monotonic() - start:.0f} s")
            return made


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
