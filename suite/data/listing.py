"""The image files under a folder: ``<folder>/<split>/<class>/**``.

Files and classes in the order of torchvision's ImageFolder. Names that start with a dot are not
looked at, files of other kinds are left aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from suite.data.base import DataError

TRAIN, VAL, TEST = "train", "val", "test"
HIDDEN = "."
ELSEWHERE = "another place is chosen with --data-root or DSKD_DATA_ROOT"


@dataclass(frozen=True)
class Listing:
    """The images of one split. Arrays: a list would be copied into every worker bit by bit."""

    folder: Path
    classes: tuple[str, ...]
    paths: NDArray[np.bytes_]  # [N] relative to ``folder``
    labels: NDArray[np.int64]  # [N]
    changed: Mapping[str, int]
    """Every directory, relative to ``folder`` -> time of its last change in ns."""

    def __len__(self) -> int:
        return len(self.labels)


def splits(folder: Path) -> dict[str, Listing]:
    """The splits of an image folder that are there; ``train`` must be.

    ``test`` counts if it has folders of train's classes: many sets come with an unlabelled one.
    Raises :class:`DataError` for a folder that is missing, empty or cannot be read.
    """
    found = {TRAIN: scan(folder / TRAIN)}
    if (folder / VAL).is_dir():
        found[VAL] = scan(folder / VAL)
    test = folder / TEST
    if any((test / name).is_dir() for name in found[TRAIN].classes):
        found[TEST] = scan(test)
    return found


def scan(folder: Path) -> Listing:
    """The images under ``folder``, one folder per class. Raises :class:`DataError`."""
    try:
        classes = _classes(folder)
        found = [list(_files(folder, name)) for name in classes]
        changed = {".": time_of(folder)}
    except OSError as error:
        raise DataError(
            f"image folder {folder}: cannot be read: {error.strerror} ({error.filename}). "
            f"{advice(folder)}"
        ) from None
    paths, labels = [], []
    for label, (name, directories) in enumerate(zip(classes, found, strict=True)):
        changed |= {place: time for place, time, _ in directories}
        images = [
            os.fsencode(f"{place}/{file}")
            for place, _, files in directories
            for file in files
            if file.lower().endswith(IMG_EXTENSIONS)
        ]
        if not images:
            raise DataError(_no_images(folder / name, [it for *_, it in directories]))
        paths += images
        labels += [label] * len(images)
    return Listing(folder, classes, np.array(paths), np.array(labels, dtype=np.int64), changed)


def require_classes(split: Listing, train: Listing) -> None:
    """Raise :class:`DataError` unless both have the same classes: labels count over their names."""
    lacks, more = set(train.classes) - set(split.classes), set(split.classes) - set(train.classes)
    faults = []
    if more:
        faults.append(f"{_some(more)} without a folder under {TRAIN}")
    if lacks:
        faults.append(f"no folder for {_some(lacks)}, which {TRAIN} has")
    if faults:
        raise DataError(
            f"image folder {split.folder}: {'; '.join(faults)}. All splits must have the same "
            "class folders"
        )


def advice(folder: Path) -> str:
    """What must lie in the folder of a split."""
    return (
        f"Put one folder per class there, for example {folder}/<class>/<image>.jpg, under both "
        f"train/ and val/; {ELSEWHERE}."
    )


def time_of(directory: Path | str) -> int:
    """Time of the last change in ns: files added, removed or renamed."""
    return os.stat(directory).st_mtime_ns  # noqa: PTH116 (2,000 calls for ImageNet)


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"image folder {folder}: is not there. {advice(folder)}")
    found = tuple(sorted(_names(folder)))
    if len(found) < 2:
        raise DataError(
            f"image folder {folder}: holds {len(found)} class folders, at least 2 are needed. "
            f"{advice(folder)}"
        )
    return found


def _names(folder: Path) -> Iterator[str]:
    """The class folders. A hidden one with images is refused, others are left aside."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                continue
            if not entry.name.startswith(HIDDEN):
                yield entry.name
            elif any(file.suffix.lower() in IMG_EXTENSIONS for file in Path(entry).iterdir()):
                raise DataError(
                    f"image folder {folder}: {entry.name} holds images and starts with a dot; "
                    "rename it if it is a class, else delete it"
                )


def _files(folder: Path, name: str) -> Iterator[tuple[str, int, list[str]]]:
    """Every directory of a class: path relative to ``folder``, time of change, files; in order."""

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for place, directories, files in os.walk(folder / name, onerror=refuse, followlinks=True):
        directories[:] = [it for it in directories if not it.startswith(HIDDEN)]
        found.append((place, sorted(it for it in files if not it.startswith(HIDDEN))))
    for place, files in sorted(found):
        yield os.path.relpath(place, folder), time_of(place), files


def _no_images(folder: Path, files: list[list[str]]) -> str:
    others = [file for some in files for file in some]
    kinds = ", ".join(IMG_EXTENSIONS)
    found = f"none of its {len(others)} files is an image ({others[0]})" if others else "is empty"
    return f"image folder {folder}: {found}; allowed: {kinds}. Delete it if it is no class"


def _some(names: set[str]) -> str:
    shown = ", ".join(repr(name) for name in sorted(names)[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
