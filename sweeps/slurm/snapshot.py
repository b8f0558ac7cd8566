"""The code of a sweep as it was at submission: jobs run from this copy, whatever changes later."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from suite.interface.errors import UserError
from suite.store.commit import GIT_NOTE, git_state
from suite.store.record import write_json
from sweeps.slurm.private import private

PACKAGES = ("suite", "baselines", "sweeps", "analysis")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
OURS = Path(__file__).resolve().parents[2]
"""Where the packages lie that this process runs."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of the code, and what it must be."""

    folder: Path
    sha256: str

    def verify(self) -> None:
        """Raise :class:`UserError` unless this process runs the copy, and it is what it was.

        Every file counts, so that none is taken from elsewhere in place of one that is gone.
        """
        if self.folder.resolve() != OURS:
            raise UserError(f"the code of {self.folder} is gone: {OURS} was imported in its place")
        if content_hash(self.folder) != self.sha256:
            raise UserError(
                f"the code in {self.folder} was changed after the jobs were submitted; submit them "
                "again, from a new copy"
            )

    def shell_setup(self) -> list[str]:
        """Shell lines after which Python imports the copy: not the working folder, not an install.

        What ``PYTHONPATH`` holds stays behind it: modules of a cluster put their torch there.
        """
        path = shlex.quote(str(self.folder))
        return [
            f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"',
            "export PYTHONSAFEPATH=1",
        ]


def take(experiment: Path, root: Path = OURS, *, group: bool = False) -> Snapshot:
    """Copy the packages under ``root`` to ``experiment/source/<hash>/``, once per content.

    A copy that was changed since is left to the jobs that run from it, which refuse it; a new one
    lies beside it. ``group`` as in :func:`sweeps.slurm.private.private`.
    """
    sha256 = content_hash(root)
    folder = private(experiment / "source", group=group) / sha256[:16]
    for number in count(2):
        if not folder.is_dir():
            break
        if content_hash(folder) == sha256:
            return Snapshot(folder, sha256)
        folder = folder.with_name(f"{sha256[:16]}-{number}")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        copy = Path(scratch) / "copy"
        for package in PACKAGES:
            shutil.copytree(
                root / package, copy / package, ignore=LEFT_OUT, ignore_dangling_symlinks=True
            )
        write_json(copy / GIT_NOTE, git_state())
        try:
            copy.rename(folder)
        except OSError:  # another launcher was quicker with the same content
            if not folder.is_dir():
                raise
    return Snapshot(folder, sha256)


def content_hash(root: Path) -> str:
    """SHA-256 over names and bytes of everything that :func:`take` copies."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(_files(root / package)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder that :func:`take` copies; links count as what they lead to."""
    if not folder.is_dir():
        return
    names = [path.name for path in folder.iterdir()]
    for name in set(names) - LEFT_OUT(str(folder), names):
        path = folder / name
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
