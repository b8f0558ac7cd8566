"""What all commands share: the version, and how an unexpected fault is told."""

from __future__ import annotations

import os
import tempfile
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from suite.interface.errors import shortened
from suite.terminal import terminal

TRACEBACK = "DSKD_TRACEBACK"
"""Set: an unexpected fault ends with its traceback on the terminal."""
console = terminal()


def _print_version(wanted: bool) -> None:
    if wanted:
        from suite.store.commit import git_state

        state = git_state()
        commit = state["git_commit"] or "unknown commit"
        changed = ", changed since" if state["git_dirty"] else ""
        console.print(f"dskd-bench {version('dskd-bench')} ({commit}{changed})", highlight=False)
        raise typer.Exit


def common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Version of the package and commit of its code.",
        ),
    ] = False,
    _traceback: Annotated[
        bool,
        typer.Option(
            "--traceback", help=f"Show the traceback of an unexpected fault (or {TRACEBACK}=1)."
        ),
    ] = False,
) -> None:
    """Options of all commands."""


def told(error: Exception, words: list[str]) -> str:
    """One line on an unexpected fault; its traceback goes to a file, where one can be written."""
    reason = shortened(" ".join(f"{type(error).__name__}: {error}".split()))
    text = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(prefix="dskd-bench-", suffix=".log")
        with os.fdopen(handle, "w") as file:
            file.write(f"dskd-bench {' '.join(words)}\n{text}")
    except OSError:
        path = f"nowhere, no room for it; {TRACEBACK}=1 shows it"
    return f"error: unexpected {reason}; please report it with the traceback: {path}"
