"""Faults that the user can mend: the command line prints them in one piece and exits with 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """The message names the field, the value and what is allowed."""


def unknown(kind: str, value: object, known: Iterable[str]) -> str:
    """``unknown KIND 'VALUE' (did you mean X?); known: A, B, C``."""
    known = sorted(known)
    close = get_close_matches(str(value), known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown {kind} {value!r}{hint}; known: {', '.join(known)}"
