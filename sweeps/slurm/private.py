"""Folders whose content is run as code: open to their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from suite.interface.errors import UserError

OWNER_ONLY = 0o700


def private(folder: Path) -> Path:
    """Make the folder, or shut others out of it, whatever the umask: mode 0700.

    Raises :class:`UserError` when it belongs to somebody else, who could put code into it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=OWNER_ONLY)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise UserError(
            f"{folder} belongs to user {found.st_uid}, who could change the code that jobs run "
            "from it; take a run store of your own (--runs-root, DSKD_RUNS_ROOT)"
        )
    if stat.S_IMODE(found.st_mode) != OWNER_ONLY:
        folder.chmod(OWNER_ONLY)
    return folder
