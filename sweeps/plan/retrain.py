"""Train runs again: their records are set aside, never deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from suite.config import RunSpec
from suite.interface.errors import UserError
from suite.store.lease import holder
from suite.store.record import RecordError
from suite.store.states import directory_of

ASIDE = "aside"
"""``runs/<experiment>/aside/<run id>-<UTC time>``: nothing looks for runs there."""


def set_aside(specs: Sequence[RunSpec], runs_root: Path) -> list[Path]:
    """Move the folders of the students among these runs away; returns where they are now.

    Teachers stay: other experiments share them. Raises :class:`UserError`, before anything is
    moved, when somebody trains one of the runs.
    """
    students = [spec for spec in specs if spec.role != "teacher"]
    folders = [directory_of(spec, runs_root).path for spec in students]
    existing = [folder for folder in folders if folder.is_dir()]
    for folder in existing:
        owner = holder(folder)
        if owner is not None:
            raise UserError(
                f"--force: {folder} is being trained by process {owner.get('pid')} on "
                f"{owner.get('host')}; stop that first"
            )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return [_move(folder, folder.parent / ASIDE / f"{folder.name}-{stamp}") for folder in existing]


def _move(folder: Path, target: Path) -> Path:
    try:
        target.parent.mkdir(exist_ok=True)
        return folder.rename(target)
    except OSError as error:
        raise RecordError(f"cannot move {folder} to {target}: {error.strerror or error}") from None
