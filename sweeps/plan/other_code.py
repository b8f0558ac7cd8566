"""Finished runs whose code has changed since: reported, and trained again only on request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.config import RunSpec
from suite.interface.errors import UserError
from suite.store import source
from suite.store.states import directory_of


def note(specs: Sequence[RunSpec], runs_root: Path) -> str | None:
    """One line on the finished runs that were made by other code than this, or None."""
    names: dict[str, None] = {}
    count = 0
    for spec in specs:
        changed = source.changed(_modules(spec, runs_root))
        names |= dict.fromkeys(changed)
        count += bool(changed)
    if not count:
        return None
    runs = "1 finished run was" if count == 1 else f"{count} finished runs were"
    return (
        f"{runs} made by other code of {source.named(list(names))}; a finished run stays as it is"
    )


def _modules(spec: RunSpec, runs_root: Path) -> dict[str, str]:
    """Module -> hash as the record lists them; empty if it is older or cannot be read."""
    try:
        record = directory_of(spec, runs_root).read_result() or {}
        return dict(record["provenance"]["source_modules"])
    except (UserError, LookupError, TypeError, ValueError):
        return {}
