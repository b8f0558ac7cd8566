"""Faults that the user can mend: the command line prints them in one piece and exits with 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

MOST_CHARACTERS = 200
"""Of a value that an error repeats."""
MOST_FAULTS = 20
_REPR = Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 120, 120, 60
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = _REPR.maxset = 6


class UserError(ValueError):
    """The message names the field, the value and what is allowed."""


def unknown(kind: str, value: object, known: Iterable[str]) -> str:
    """The message for a name that is not known.

    Args:
        kind: What it is the name of.
        value: What was given.
        known: All names.

    Returns:
        ``unknown KIND 'VALUE' (did you mean X?); known: A, B, C``.
    """
    known = sorted(known)
    close = get_close_matches(str(value)[:MOST_CHARACTERS], known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown {kind} {brief(value)}{hint}; known: {', '.join(known)}"


def listed(where: str, faults: Iterable[str]) -> str:
    """The message for several faults.

    Args:
        where: What has them.
        faults: A line for each; of very many only the first are shown.

    Returns:
        ``WHERE: N fault(s)`` and a line for each, each once.
    """
    unique = list(dict.fromkeys(faults))
    lines = [f"  {fault}" for fault in unique[:MOST_FAULTS]]
    if len(unique) > MOST_FAULTS:
        lines.append(f"  and {len(unique) - MOST_FAULTS:,} more")
    return "\n".join([f"{where}: {len(unique)} fault(s)", *lines])


def brief(value: object) -> str:
    """A value as an error shows it, without looking at more than is shown.

    Args:
        value: Anything.

    Returns:
        ``repr`` of it in at most 200 characters.
    """
    return shortened(_REPR.repr(value))


def shortened(text: str) -> str:
    """A text as an error shows it.

    Args:
        text: Of any length.

    Returns:
        The text, or its beginning and ``...`` in at most 200 characters.
    """
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
