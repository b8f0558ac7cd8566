"""Saved features of runs, as arrays; whatever is missing, damaged or of another run gives none.

A run without a teacher (scratch) borrows the teacher's features of a run of its pair that saw the
same images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.feature_gap.features import Array
from analysis.runs.cache import FileState, file_state

FILE = "features.npz"
SPLITS = ("train", "heldout")
MEASURED = (
    "label",
    "index",
    "student_pooled",
    "teacher_pooled",
    "inspect/original",
    "inspect/denoised",
    "inspect/virtual_teacher",
)
"""What the gap is measured on."""
TRAJECTORY = ("inspect/trajectory", "inspect/trajectory_nll")
DRAWN = (*MEASURED, *TRAJECTORY)


STAGE = "_stage"
"""``heldout/student_stage0`` ... are features of stages."""
MISSING = "is missing"
"""How the reason ends where a file is not there."""


class UnusableError(Exception):
    """Why the features of a run cannot be used."""


def read(path: Path, run_id: str, names: Sequence[str]) -> dict[str, Array]:
    """These arrays of a file of features, as float64. Raises :class:`UnusableError`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if "run_id" in file.files and str(file["run_id"]) != run_id:
                raise UnusableError(f"{_name(path)} is of run {file['run_id']}")
            wanted = [f"{split}/{name}" for split in SPLITS for name in names]
            arrays = {
                name: np.asarray(file[name], dtype=np.float64)
                for name in wanted
                if name in file.files
            }
            return named_anew(arrays, guided=f"heldout/{TRAJECTORY[1]}" in file.files)
    except FileNotFoundError:
        raise UnusableError(f"{_name(path)} {MISSING}") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        raise UnusableError(f"{_name(path)} is damaged") from None


def named_anew(arrays: dict[str, Array], *, guided: bool) -> dict[str, Array]:
    """Arrays of files of version 0.1, which called a guided sample ``denoised``, as they are now.

    ``guided``: the method guides its denoising, which only such methods' trajectories tell. Those
    of that version end at another feature than the virtual teacher's and are left out.
    """
    if not guided or any(name.endswith("/virtual_teacher") for name in arrays):
        return arrays
    renamed = {
        name.replace("inspect/denoised", "inspect/virtual_teacher"): array
        for name, array in arrays.items()
    }
    return {
        name: array for name, array in renamed.items() if name.partition("/")[2] not in TRAJECTORY
    }


def _name(path: Path) -> str:
    return "/".join(path.parts[-3:])  # experiment, run, file


@dataclass(frozen=True)
class Source:
    """A run's features and, for a student without a teacher, a run that has the teacher's."""

    directory: str
    run_id: str
    teacher_directory: str
    teacher_run_id: str

    @property
    def key(self) -> str:
        """Name in the cache."""
        return f"{self.directory} {self.teacher_directory}"

    def state(self, root: Path) -> FileState:
        """Of both files, as far as they exist."""
        own = file_state(f"{root}/{self.directory}", (FILE,))
        other = file_state(f"{root}/{self.teacher_directory}", (FILE,))
        return own | ({"teacher": other[FILE]} if other else {})

    def read(self, root: Path, names: Sequence[str]) -> dict[str, Array]:
        """Arrays with the teacher's; without them when the images are not the same.

        Raises :class:`UnusableError`.
        """
        arrays = read(root / self.directory / FILE, self.run_id, names)
        if self.directory == self.teacher_directory or "heldout/teacher_pooled" in arrays:
            return arrays
        other = read(root / self.teacher_directory / FILE, self.teacher_run_id, names)
        index = [f"{split}/index" for split in SPLITS]
        if any(not np.array_equal(arrays.get(n, np.empty(0)), other.get(n, ())) for n in index):
            return arrays
        return {k: v for k, v in other.items() if k.endswith("/teacher_pooled")} | arrays


def sources(runs: pd.DataFrame) -> list[Source]:
    """Where the features of each finished run of ``runs`` and its teacher's are, in order."""
    columns = ["dataset", "recipe", "pair", "teacher", "directory", "run_id"]
    rows = list(runs[columns].itertuples(index=False, name=None))
    lenders: dict[tuple[str, ...], tuple[str, str]] = {}
    for *place, teacher, directory, run_id in rows:
        if isinstance(teacher, str):
            lenders.setdefault(tuple(place), (directory, run_id))
    chosen = []
    for *place, teacher, directory, run_id in rows:
        own = (directory, run_id)
        lender = own if isinstance(teacher, str) else lenders.get(tuple(place), own)
        chosen.append(Source(*own, *lender))
    return chosen


def stages(path: Path, run_id: str) -> tuple[list[Array], list[Array]]:
    """Features of all stages of student and of teacher on held-out images, shallow to deep.

    Both empty where the run kept none. Raises :class:`UnusableError`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [name.removeprefix("heldout/") for name in file.files if STAGE in name]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError):
        raise UnusableError(f"{_name(path)} is missing or damaged") from None
    arrays = read(path, run_id, names)

    def of(network: str) -> list[Array]:
        own = [name for name in names if name.startswith(f"{network}{STAGE}")]
        own.sort(key=lambda name: int(name.removeprefix(f"{network}{STAGE}")))
        return [arrays[f"heldout/{name}"] for name in own]

    return of("student"), of("teacher")


def epochs_kept(directory: Path) -> dict[int, Path]:
    """Epoch -> file, for the epochs after which a run kept its features."""
    kept = {path.stem.removeprefix("features-"): path for path in directory.glob("features-*.npz")}
    return {int(name): path for name, path in sorted(kept.items()) if name.isdigit()}
