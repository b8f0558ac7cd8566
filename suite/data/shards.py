"""Images in WebDataset shards: ``<split>/*.tar``, in which ``KEY.jpg`` is of the class ``KEY.cls``.

An image is read where it lies in its shard, whose heads are read once: it has a path of its own,
``SHARD.tar//OFFSET+SIZE``, and is then as good as a file, for any order and from any process.
Shards are not compressed. Keys end at the first dot of a name, as WebDataset has it; members that
are neither image nor class, and names that start with a dot, are left aside.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torchvision.datasets.folder import IMG_EXTENSIONS

from suite.data import parquet
from suite.data.base import DataError
from suite.interface.errors import UserError
from suite.store.record import write_atomically

SUFFIX = ".tar"
CLASS = "cls"
"""Extension of the member that holds a class: a number, or a name."""
MEMBER = re.compile(r"(.+)//(\d+)\+(\d+)", re.DOTALL)
"""No path of a file has two slashes: pathlib makes one of them."""
NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")


class Shards(NamedTuple):
    """The images of a split."""

    classes: tuple[str, ...]  # numbers in their order, else names in theirs
    paths: NDArray[np.bytes_]  # [N] relative to the split's folder, in the order of the shards
    labels: NDArray[np.int64]  # [N]
    changed: dict[str, int]  # shard -> time of its last change in ns


def names(folder: Path) -> list[str]:
    """The shards in the folder of a split, in order; none where it has other folders."""
    with os.scandir(folder) as entries:
        found = [it for it in entries if not it.name.startswith(".")]
    if any(it.is_dir() for it in found):
        return []
    return sorted(it.name for it in found if it.name.endswith(SUFFIX))


def scan(folder: Path, cache: Path | None) -> Shards:
    """All images of a split's shards; ``cache`` is a folder that keeps what their heads say.

    It is valid while no shard changes its size or time. Raises :class:`DataError`.
    """
    shards = names(folder)
    states = [(folder / name).stat() for name in shards]
    state = [f"{n} {it.st_size} {it.st_mtime_ns}" for n, it in zip(shards, states, strict=True)]
    changed = {n: it.st_mtime_ns for n, it in zip(shards, states, strict=True)}
    kept = None if cache is None else _kept(_file(folder, cache), state)
    if kept is not None:
        return Shards(*kept, changed)
    found = [image for name in shards for image in _images(folder, name)]
    if not found:
        raise DataError(f"image folder {folder}: no image in its {len(shards)} shards")
    said = [name for _, name in found]
    numbers = all(name.isascii() and name.isdigit() for name in said)
    classes = tuple(sorted(set(said), key=lambda name: (int(name) if numbers else 0, name)))
    place = {name: label for label, name in enumerate(classes)}
    paths = np.array([os.fsencode(path) for path, _ in found])
    labels = np.array([place[name] for name in said], dtype=np.int64)
    if cache is not None:
        _keep(_file(folder, cache), state, classes, paths, labels)
    return Shards(classes, paths, labels, changed)


def is_member(path: str) -> bool:
    """Whether a path is that of an image in a shard or a Parquet file."""
    return "//" in path and (parquet.is_row(path) or MEMBER.fullmatch(path) is not None)


def size(path: str) -> int:
    """Bytes of an image: of a file, or in a shard."""
    found = MEMBER.fullmatch(path) if "//" in path else None
    return os.stat(path).st_size if found is None else int(found[3])  # noqa: PTH116


def content(path: str) -> bytes:
    """All bytes of an image: of a file, in a shard or a Parquet file. Raises OSError."""
    if parquet.is_row(path):
        return parquet.content(path)
    found = MEMBER.fullmatch(path) if "//" in path else None
    if found is None:
        return Path(path).read_bytes()
    with Path(found[1]).open("rb") as shard:
        shard.seek(int(found[2]))
        return shard.read(int(found[3]))


def opened(path: str) -> BinaryIO:
    """An image to be read from its beginning, wherever it lies. Raises OSError."""
    return io.BytesIO(content(path)) if is_member(path) else Path(path).open("rb")


def _images(folder: Path, shard: str) -> Iterator[tuple[str, str]]:
    """Path and class of every image of a shard, in its order."""
    images: dict[str, str] = {}
    classes: dict[str, str] = {}
    try:
        with tarfile.open(folder / shard, "r:") as tar:
            for member in tar:
                parts = NAME.fullmatch(member.name)
                if parts is None or not member.isreg() or member.issparse():
                    continue
                key, extension = parts[1], parts[2].lower()
                if extension == CLASS:
                    file = tar.extractfile(member)
                    classes[key] = "" if file is None else file.read().decode().strip()
                elif f".{extension}" in IMG_EXTENSIONS:
                    if key in images:
                        raise DataError(f"shard {folder / shard}: two images of the key {key!r}")
                    images[key] = f"{shard}//{member.offset_data}+{member.size}"
    except (tarfile.TarError, OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = " ".join(str(error).split())
        raise DataError(f"shard {folder / shard}: cannot be read: {reason}") from None
    lacking = [key for key in images if not classes.get(key)]
    if lacking:
        raise DataError(
            f"shard {folder / shard}: {len(lacking)} of {len(images)} images have no class: "
            f"{lacking[0]}.{CLASS} is missing or empty"
        )
    for key, path in images.items():
        yield path, classes[key]


def _file(folder: Path, cache: Path) -> Path:
    place = os.fsencode(folder.resolve())
    return cache / f"{hashlib.sha256(place).hexdigest()[:16]}-shards.npz"


def _kept(
    path: Path, state: list[str]
) -> tuple[tuple[str, ...], NDArray[np.bytes_], NDArray[np.int64]] | None:
    """What was found before in shards of this state."""
    try:
        with np.load(path) as arrays:
            if arrays["state"].tolist() == state:
                classes = tuple(arrays["classes"].tolist())
                return classes, arrays["paths"], arrays["labels"]
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile):
        pass  # none, or damaged
    return None


def _keep(
    path: Path,
    state: list[str],
    classes: tuple[str, ...],
    paths: NDArray[np.bytes_],
    labels: NDArray[np.int64],
) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        state=np.array(state),
        classes=np.array(classes),
        paths=paths,
        labels=labels,
    )
    with suppress(UserError):  # no room, not ours to write: found anew next time
        write_atomically(path, buffer.getvalue())
