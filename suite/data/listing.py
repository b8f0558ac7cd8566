"""The image files under a folder: ``<folder>/<split>/<class>/**``, shards or tables of them.

Files and classes in the order of torchvision's ImageFolder. Names that start with a dot are not
looked at, files of other kinds are left aside. A split may also have all images in one folder and
their classes in a file, as Tiny-ImageNet's ``val``, or be tar files, see :mod:`suite.data.shards`.
A folder without splits may hold Parquet files of them, see :mod:`suite.data.parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from suite.config import Columns
from suite.data import parquet, shards
from suite.data.base import DataError

TRAIN, VAL, TEST = "train", "val", "test"
PARQUET_SPLITS = {
    **dict.fromkeys(("train",), TRAIN),
    **dict.fromkeys(("validation", "valid", "val", "dev"), VAL),
    **dict.fromkeys(("test",), TEST),
}
"""How names of Parquet files begin on the Hugging Face hub."""
NO_COLUMNS = (
    "has no Parquet files, which alone have columns; leave data.image_column and "
    "data.label_column out"
)
HIDDEN = "."
ANNOTATIONS, ANNOTATED = "val_annotations.txt", "images"
"""Tiny-ImageNet's list of file, class and box, and the folder of the files."""
ELSEWHERE = "another place is chosen with --data-root or DSKD_DATA_ROOT"


@dataclass(frozen=True)
class Listing:
    """The images of one split. Arrays: a list would be copied into every worker bit by bit."""

    folder: Path
    classes: tuple[str, ...]
    paths: NDArray[np.bytes_]  # [N] relative to ``folder``
    labels: NDArray[np.int64]  # [N]
    changed: Mapping[str, int]
    """Directories, shards and lists of classes, relative to ``folder`` -> last change in ns."""
    part: str = ""
    """Of a split that shares its folder with others: its files there, for messages."""
    digest: bytes = b""
    """Tells other images and classes apart where paths and sizes do not."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def place(self) -> Path:
        """Folder, or files, for messages."""
        return self.folder / self.part


def splits(
    folder: Path, cache: Path | None = None, columns: Columns | None = None
) -> dict[str, Listing]:
    """The splits of an image folder that are there; ``train`` must be.

    ``test`` counts if it has shards, or folders of train's classes: many sets come with an
    unlabelled one. ``cache`` is a folder for what is known of shards; ``columns`` are those of
    Parquet files. Raises :class:`DataError` for a folder that is missing, empty or cannot be read.
    """
    if parquet_folder(folder) is not None:
        return _of_tables(folder, columns or Columns())
    if columns not in (None, Columns()):
        raise DataError(f"image folder {folder}: {NO_COLUMNS}")
    found = {TRAIN: scan(folder / TRAIN, cache)}
    if (folder / VAL).is_dir():
        found[VAL] = scan(folder / VAL, cache)
    test = folder / TEST
    labelled = any((test / name).is_dir() for name in found[TRAIN].classes)
    if labelled or (test.is_dir() and shards.names(test)):
        found[TEST] = scan(test, cache)
    return found


def parquet_folder(folder: Path) -> Path | None:
    """Where the Parquet files lie if images are read from them: there is no folder ``train``."""
    if (folder / TRAIN).is_dir():
        return None
    place, files = parquet.files(folder, PARQUET_SPLITS)
    return place if files else None


def _of_tables(folder: Path, columns: Columns) -> dict[str, Listing]:
    place, files = parquet.files(folder, PARQUET_SPLITS)
    if TRAIN not in files:
        raise DataError(f"image folder {place}: has no {TRAIN}-*.parquet. {advice(folder / TRAIN)}")
    found, named = {}, None
    for split in filter(files.__contains__, (TRAIN, VAL, TEST)):
        rows = parquet.scan(place, files[split], columns)
        first = files[split][0]
        if rows is None and split != TEST:
            raise DataError(f"Parquet files {place / first}: no image has a class")
        if rows is None:
            continue
        if split != TRAIN and rows.named != named:
            raise DataError(
                f"Parquet file {place / first}: its list of classes is not that of "
                f"{files[TRAIN][0]}"
            )
        named = rows.named
        changed = {".": time_of(place), **rows.changed}
        part = first if len(files[split]) == 1 else f"{first.partition('-')[0]}-*{parquet.SUFFIX}"
        found[split] = Listing(
            place, rows.classes, rows.paths, rows.labels, changed, part, rows.digest
        )
    _require_two(found[TRAIN].place, len(found[TRAIN].classes), "class", "classes")
    return found


def scan(folder: Path, cache: Path | None = None) -> Listing:
    """The images under ``folder``: one folder per class, annotated, or in shards.

    Raises :class:`DataError`.
    """
    if (folder / ANNOTATIONS).is_file():
        return _annotated(folder)
    try:
        if folder.is_dir() and shards.names(folder):
            return _sharded(folder, cache)
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


def _sharded(folder: Path, cache: Path | None) -> Listing:
    found = shards.scan(folder, cache)
    _require_two(folder, len(found.classes), "class", "classes")
    changed = {".": time_of(folder), **found.changed}
    return Listing(folder, found.classes, found.paths, found.labels, changed)


def _annotated(folder: Path) -> Listing:
    file = folder / ANNOTATIONS
    try:
        lines = [line.split("\t") for line in file.read_text().splitlines()]
        there = set(os.listdir(folder / ANNOTATED))  # noqa: PTH208 (names)
        changed = {place: time_of(folder / place) for place in (".", ANNOTATED, ANNOTATIONS)}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"image folder {folder}: cannot be read: {error}") from None
    faulty = next((it for it in lines if len(it) < 2 or it[0] not in there), None)
    if faulty is not None or len(lines) != len(there):
        counted = f"{len(lines)} lines for {len(there)} files"
        named = "" if faulty is None else f", the first wrong one is {' '.join(faulty)[:80]!r}"
        raise DataError(
            f"image folder {file}: must have a line 'file<tab>class' for each file in "
            f"{ANNOTATED}/: {counted}{named}"
        )
    rows = sorted((label, name) for name, label, *_ in lines)
    classes = tuple(sorted({label for label, _ in rows}))
    paths = np.array([os.fsencode(f"{ANNOTATED}/{name}") for _, name in rows])
    labels = np.searchsorted(np.array(classes), [label for label, _ in rows])
    return Listing(folder, classes, paths, labels.astype(np.int64), changed)


def require_classes(split: Listing, train: Listing) -> None:
    """Raise :class:`DataError` unless both have the same classes: labels count over their names."""
    lacks, more = set(train.classes) - set(split.classes), set(split.classes) - set(train.classes)
    faults = []
    images, one = ("image", "an image") if split.part else ("folder", "a folder")
    if more:
        faults.append(f"{_some(more)} without {one} under {TRAIN}")
    if lacks:
        faults.append(f"no {images} for {_some(lacks)}, which {TRAIN} has")
    if faults:
        raise DataError(
            f"image folder {split.place}: {'; '.join(faults)}. All splits must have the same "
            "classes"
        )


def advice(folder: Path) -> str:
    """What must lie in the folder of a split."""
    return (
        f"Put one folder per class there, for example {folder}/<class>/<image>.jpg, under both "
        f"train/ and val/, or WebDataset shards (*.tar), or Parquet files in {folder.parent}/data "
        f"(train-*.parquet, validation-*.parquet); {ELSEWHERE}."
    )


def time_of(directory: Path | str) -> int:
    """Time of the last change in ns: files added, removed or renamed."""
    return os.stat(directory).st_mtime_ns  # noqa: PTH116 (2,000 calls for ImageNet)


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"image folder {folder}: is not there. {advice(folder)}")
    found = tuple(sorted(_names(folder)))
    _require_two(folder, len(found), "class folder", "class folders")
    return found


def _require_two(folder: Path, count: int, one: str, several: str) -> None:
    if count < 2:
        named = f"{count} {one if count == 1 else several}"
        raise DataError(
            f"image folder {folder}: holds {named}, at least 2 are needed. {advice(folder)}"
        )


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
