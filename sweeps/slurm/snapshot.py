"""The code of a sweep as it was at submission: jobs run from this copy, whatever changes later."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from suite.store.provenance import GIT_NOTE, git_state
from suite.store.record import write_json
from sweeps.slurm.private import private

PACKAGES = ("suite", "baselines", "sweeps", "analysis")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


OURS = Path(__file__).resolve().parents[2]
"""Where the packages lie that this process runs."""


def take(experiment: Path, root: Path = OURS) -> Path:
    """Copy the packages under ``root`` to ``experiment/source/<hash>/``, once per content.

    A copy that was changed since is left to the jobs that run from it; a new one lies beside it.
    """
    wanted = content_hash(root)
    place = private(experiment / "source") / wanted[:16]
    for number in count(2):
        if not place.is_dir():
            break
        if content_hash(place) == wanted:
            return place
        place = place.with_name(f"{wanted[:16]}-{number}")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as scratch:
        copy = Path(scratch) / "copy"
        for package in PACKAGES:
            shutil.copytree(
                root / package, copy / package, ignore=LEFT_OUT, ignore_dangling_symlinks=True
            )
        write_json(copy / GIT_NOTE, git_state())
        try:
            copy.rename(place)
        except OSError:  # another launcher was quicker with the same content
            if not place.is_dir():
                raise
    return place


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
    names = [path.name for path in folder.iterdir()]
    for name in set(names) - LEFT_OUT(str(folder), names):
        path = folder / name
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def shell_setup(place: Path) -> list[str]:
    """Shell lines after which Python imports the copy: not the working folder, not an install."""
    path = shlex.quote(str(place))
    return [f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"', "export PYTHONSAFEPATH=1"]
