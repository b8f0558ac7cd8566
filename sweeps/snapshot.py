"""The code of a sweep as it was at submission: jobs run from this copy, whatever changes later."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import tempfile
from pathlib import Path

from suite.provenance import GIT_NOTE, git_state
from suite.record import write_json

PACKAGES = ("suite", "baselines", "sweeps", "analysis")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


OURS = Path(__file__).resolve().parent.parent
"""Where the packages lie that this process runs."""


def take(experiment: Path, root: Path = OURS) -> Path:
    """Copy the packages under ``root`` to ``experiment/source/<hash>/``, once per content."""
    place = experiment / "source" / content_hash(root)[:16]
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".") as scratch:
        copy = Path(scratch) / "copy"
        for package in PACKAGES:
            shutil.copytree(root / package, copy / package, ignore=LEFT_OUT)
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
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root)
            if path.is_file() and "__pycache__" not in name.parts and path.name[0] != ".":
                content = path.read_bytes()
                digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def shell_setup(place: Path) -> list[str]:
    """Shell lines after which Python imports the copy: not the working folder, not an install."""
    path = shlex.quote(str(place))
    return [f'export PYTHONPATH={path}"${{PYTHONPATH:+:$PYTHONPATH}}"', "export PYTHONSAFEPATH=1"]
