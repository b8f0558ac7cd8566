"""Folders whose content is run as code: open to their owner alone, or to a trusted group."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from suite.interface.errors import UserError

OWNER_ONLY = 0o700
WITH_GROUP = 0o2770
"""New files belong to the folder's group."""


def private(folder: Path, *, group: bool = False) -> Path:
    """Make the folder, or shut others out of it, whatever the umask: mode 0700.

    With ``group`` (``share_jobs_with_group`` of a cluster file) its members may come in, too, and
    so may run code as each other. Raises :class:`UserError` when the folder belongs to somebody
    else who has not shared it, and who could put code into it.
    """
    mode = WITH_GROUP if group else OWNER_ONLY
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        ours = status.st_gid in {os.getegid(), *os.getgroups()}
        if group and ours and stat.S_IMODE(status.st_mode) == WITH_GROUP:
            return folder
        raise UserError(
            f"{folder} belongs to user {status.st_uid}, who could change the code that jobs run "
            "from it; take a run store of your own (--runs-root, DSKD_RUNS_ROOT), or share it with "
            "a group: share_jobs_with_group: true in the cluster files of both"
        )
    if stat.S_IMODE(status.st_mode) != mode:
        folder.chmod(mode)
    return folder
