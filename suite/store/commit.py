"""Which commit the code is; asked where nothing else needs torch, so that it loads none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from suite.store import source
from suite.store.record import read_json

GIT_NOTE = "git.json"
"""File beside the packages of a copy of the code: :func:`git_state` of the original."""


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it has changed since; a copy keeps those of its original."""
    root = Path(__file__).resolve().parents[2]
    noted: dict[str, Any] | None = read_json(root / GIT_NOTE)
    if noted is not None:
        return noted
    commit = _git_output(root, "rev-parse", "HEAD")
    changes = _git_output(root, "status", "--porcelain", "--", *source.RUNS)
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


def _git_output(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
