"""Which images an image folder holds: part of a run's identity, and checked when a run starts."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from suite.config import Columns, FolderContents
from suite.data import shards
from suite.data.base import DataError
from suite.data.listing import Listing, splits, time_of
from suite.interface.errors import UserError
from suite.store.record import read_json, write_json

KEPT_FROM = 100_000
"""Folders with so many images or more are not looked at file by file each time."""
SETTLED_SECONDS = 60.0
"""A folder that has changed since is not kept: it may change again within one tick of its clock."""
DIGITS = 16


def contents_of(
    folder: Path,
    cache: Path | None,
    found: Mapping[str, Listing] | None = None,
    columns: Columns | None = None,
) -> FolderContents:
    """Classes, number of images and a hash over their names (in shards: also classes) and sizes.

    Of Parquet files, in whose ``columns`` images lie, the hash is over the names and footers of the
    files and all labels.

    Also over the bytes of the first image of each class in each split, which tells uncompressed
    images apart. ``cache``: a folder for what was found in large folders, valid until one of their
    directories changes. ``found``: the splits, where they have been listed. Raises
    :class:`DataError`.
    """
    kept = _kept(folder, cache, columns)
    if kept is not None:
        return kept
    found = found or splits(folder, cache, columns)
    made = FolderContents(
        sha256=_digest(found),
        classes=len(found["train"].classes),
        images={name: len(split) for name, split in found.items()},
    )
    if cache is not None and sum(made.images.values()) >= KEPT_FROM:
        _keep(folder, cache, columns, found, made)
    return made


def check(expected: FolderContents, folder: Path, found: FolderContents) -> None:
    """Raise :class:`DataError` unless the folder holds the images that the run is of."""
    if expected != found:
        raise DataError(
            f"image folder {folder} does not hold the images of this run: expected "
            f"{describe(expected)}; found {describe(found)}. Put the images back as they were, or "
            "start the sweep again: runs of the images that are there now have ids of their own"
        )


def describe(it: FolderContents) -> str:
    """``20 classes, 1,000 train and 100 val images (0123456789abcdef)``."""
    counts = " and ".join(f"{number:,} {split}" for split, number in it.images.items())
    return f"{it.classes:,} classes, {counts} images ({it.sha256})"


def _digest(found: Mapping[str, Listing]) -> str:
    digest = hashlib.sha256()
    for name, split in found.items():
        folder = os.fsencode(split.folder)
        digest.update(f"{name} {len(split.classes)} {len(split)}\n".encode() + split.digest)
        seen: set[int] = set()
        for path, label in zip(split.paths.tolist(), split.labels.tolist(), strict=True):
            place = os.fsdecode(folder + b"/" + path)
            try:
                if not split.digest:
                    said = b"\0%b" % split.classes[label].encode() if b"//" in path else b""
                    digest.update(b"%b%b\0%d\n" % (path, said, shards.size(place)))
                if label not in seen:
                    digest.update(shards.content(place))
            except OSError as error:
                raise DataError(f"image {place} cannot be read: {error.strerror}") from None
            seen.add(label)
    return digest.hexdigest()[:DIGITS]


def _file(folder: Path, cache: Path, columns: Columns | None) -> Path:
    other = columns not in (None, Columns())
    place = os.fsencode(f"{folder.resolve()}//{columns}" if other else folder.resolve())
    return cache / f"{hashlib.sha256(place).hexdigest()[:DIGITS]}.json"


def _kept(folder: Path, cache: Path | None, columns: Columns | None) -> FolderContents | None:
    """What was found in the folder before, if no directory in it has changed."""
    if cache is None:
        return None
    try:
        content = read_json(_file(folder, cache, columns)) or {}
        if all(time_of(folder / place) == at for place, at in content["directories"].items()):
            return FolderContents.model_validate(content["contents"])
    except (UserError, OSError, LookupError, AttributeError, TypeError, ValidationError):
        pass  # none, damaged, or the folder is not what it was
    return None


def _keep(
    folder: Path,
    cache: Path,
    columns: Columns | None,
    found: Mapping[str, Listing],
    made: FolderContents,
) -> None:
    directories = {".": time_of(folder)}
    for split in found.values():
        own = os.path.relpath(split.folder, folder)
        directories |= {f"{own}/{place}": at for place, at in split.changed.items()}
    if max(directories.values()) > (time.time() - SETTLED_SECONDS) * 1e9:
        return
    with suppress(UserError, UnicodeError):  # no room, not ours to write: found anew next time
        write_json(
            _file(folder, cache, columns),
            {
                "folder": str(folder.resolve()),
                "directories": directories,
                "contents": made.model_dump(mode="json"),
            },
        )
