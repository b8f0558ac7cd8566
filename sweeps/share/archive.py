"""An archive: finished runs in one file, in the layout of the run store, with a hash of each file.

A zip whose bytes follow from its content alone, so that it can be committed to git and exported
twice with the same result. ``archive.json`` says the version, the experiment and the hashes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.interface.errors import UserError
from suite.names import TEACHERS
from suite.store.record import RunDirectory, write_atomically

VERSION = 1
FORMAT = "dskd-bench archive"
CONTENTS = "archive.json"
ORIGIN = "origin.json"
"""In a run's folder: which archive or run store it came from."""
RECORD = ("config.json", "metrics.jsonl", "trial.json", ORIGIN, "result.json")
"""Of every run, the record last: its presence means that the rest is there."""
PREDICTIONS = ("predictions.npz", "choices.npz")
EVALUATIONS = ("probe-*.json", "robustness-*.json")
WEIGHTS = "weights.safetensors"
OF_A_RUN = re.compile(
    r"config\.json|metrics\.jsonl|trial\.json|origin\.json|result\.json|predictions\.npz|"
    r"choices\.npz|features(-\d{4})?\.npz|weights\.safetensors|"
    r"(probe|robustness)-[0-9a-f]{16}\.json"
)
OF_AN_EXPERIMENT = re.compile(
    r"manifest(-[0-9a-f]{8})?\.json|cost\.json|search\.json|study\.journal"
)
RUN_ID = re.compile(r"[0-9a-f]{16}")
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Of every file in a zip: the time of exporting is no part of the results."""


class ArchiveError(UserError):
    """An archive that cannot be read; the message names it."""


@dataclass(frozen=True)
class StoredRun:
    """A finished run in an archive or a run store."""

    experiment: str
    run_id: str
    files: Mapping[str, bytes | Path]
    """Name -> content, or where it is."""

    @property
    def directory(self) -> str:
        """``experiment/run id``, its folder in a run store."""
        return f"{self.experiment}/{self.run_id}"

    def write_to(self, folder: Path) -> None:
        """Write all files, the record last."""
        for name in sorted(self.files, key=lambda name: name == "result.json"):
            write_atomically(folder / name, self.read(name))

    def read(self, name: str) -> bytes:
        """The content of a file; empty if there is none."""
        content = self.files.get(name, b"")
        return content.read_bytes() if isinstance(content, Path) else content


@dataclass(frozen=True)
class Collection:
    """What an archive or a run store holds."""

    name: str
    origin: dict[str, Any]
    """What ``origin.json`` says of its runs."""
    runs: tuple[StoredRun, ...]
    """Teachers first."""
    of_experiments: Mapping[str, bytes]
    """``experiment/manifest.json`` ... -> content."""

    def find(self, run_id: str) -> StoredRun | None:
        """The run of this id, if it is there."""
        return next((run for run in self.runs if run.run_id == run_id), None)


def read(path: Path) -> Collection:
    """An archive, or the finished runs of a run store. Raises :class:`ArchiveError`."""
    if path.is_dir():
        return _of_store(path)
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise ArchiveError(f"{path}: there is no such archive or run store") from None
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise ArchiveError(f"archive {path} cannot be read: {error}") from None
    contents = _contents(path, files)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = {"from": path.name, "sha256": digest, "origin": contents.get("origin")}
    return Collection(path.name, origin, *_sorted(files))


def _contents(path: Path, files: dict[str, bytes]) -> dict[str, Any]:
    """``archive.json``, taken out of ``files``, once all of them are what it says."""
    try:
        contents = json.loads(files.pop(CONTENTS))
        version, hashes = contents["version"], contents["files"]
        known = contents["format"] == FORMAT
    except (LookupError, ValueError, TypeError):
        known, version, hashes = False, 0, {}
    if not known:
        raise ArchiveError(f"{path} is no archive of dskd-bench: {CONTENTS} is missing or damaged")
    if version != VERSION:
        raise ArchiveError(f"archive {path}: version {version}, this dskd-bench reads {VERSION}")
    for name in sorted(files.keys() | hashes.keys()):
        if name not in files or sha256(files[name]) != hashes.get(name):
            raise ArchiveError(f"archive {path} is damaged: {name} is not what was exported")
        if not is_known(name):
            raise ArchiveError(f"archive {path}: {name!r} is no file of a run store")
    return dict(contents)


def is_known(name: str) -> bool:
    """Whether ``experiment/run id/file`` or ``experiment/file`` is what the run store may hold."""
    experiment, *rest = name.split("/")
    if not experiment or experiment.startswith("."):
        return False
    if len(rest) == 1:
        return OF_AN_EXPERIMENT.fullmatch(rest[0]) is not None
    run = len(rest) == 2 and RUN_ID.fullmatch(rest[0]) is not None
    return run and OF_A_RUN.fullmatch(rest[1]) is not None


def _sorted(files: Mapping[str, bytes]) -> tuple[tuple[StoredRun, ...], dict[str, bytes]]:
    runs: dict[tuple[str, str], dict[str, bytes | Path]] = {}
    others = {}
    for name, content in files.items():
        experiment, *run, file = name.split("/")
        if run:
            runs.setdefault((experiment, run[0]), {})[file] = content
        else:
            others[name] = content
    return _teachers_first(StoredRun(*key, of_run) for key, of_run in runs.items()), others


def _teachers_first(runs: Iterator[StoredRun]) -> tuple[StoredRun, ...]:
    return tuple(sorted(runs, key=lambda run: (run.experiment != TEACHERS, run.directory)))


def _of_store(root: Path) -> Collection:
    finished = [
        _run_of(folder)
        for folder in sorted(root.glob("*/*/"))
        if RUN_ID.fullmatch(folder.name) and RunDirectory(folder).finished()
    ]
    if not finished:
        raise ArchiveError(f"{root} has no finished runs; give a run store or an archive")
    others = {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in sorted(root.glob("*/*"))
        if path.is_file() and OF_AN_EXPERIMENT.fullmatch(path.name)
    }
    origin = {"from": root.resolve().name, "sha256": None, "origin": None}
    return Collection(str(root), origin, _teachers_first(iter(finished)), others)


def _run_of(folder: Path) -> StoredRun:
    files = [path for path in sorted(folder.iterdir()) if OF_A_RUN.fullmatch(path.name)]
    return StoredRun(folder.parent.name, folder.name, {path.name: path for path in files})


def write(path: Path, experiment: str, origin: str | None, files: Mapping[str, bytes]) -> None:
    """Replace the archive in one step."""
    contents = {
        "format": FORMAT,
        "version": VERSION,
        "experiment": experiment,
        "origin": origin,
        "files": {name: sha256(content) for name, content in sorted(files.items())},
    }
    text = json.dumps(contents, indent=2, ensure_ascii=False) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in [(CONTENTS, text.encode()), *sorted(files.items())]:
            info = zipfile.ZipInfo(name, LONG_AGO)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
    write_atomically(path, buffer.getvalue())


def sha256(content: bytes) -> str:
    """Of a file."""
    return hashlib.sha256(content).hexdigest()
