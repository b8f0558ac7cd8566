"""Images in Parquet files as the Hugging Face hub has them: ``data/train-00000-of-00003.parquet``.

One column holds images, a struct with their ``bytes``, another the numbers of their classes, whose
names are in the file's own metadata. A row has a path, ``FILE.parquet//COLUMN//ROW``, and is then
as good as a file, for any order and from any process. It is read with its row group, the smallest
part that Parquet reads alone; each process keeps the groups that it read last. Needs pyarrow.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.config import Columns
from suite.data.base import DataError

FILE = re.compile(r"([a-z]+)(?:-(\d+)-of-(\d+)(?:-[0-9a-f]+)?)?\.parquet")
"""Split, part and number of parts; older files end in a hash."""
SUFFIX = ".parquet"
FOLDER = "data"
"""Where the hub's files lie; they may also lie one folder above."""
ROW = re.compile(r"(.+\.parquet)//(.+)//(\d+)", re.DOTALL)
BYTES = "bytes"
"""Field of an image's struct that holds the image file; ``path`` beside it is not followed."""
POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has left in place of the data."""
KEPT_BYTES = 2**28
"""Row groups that a process keeps take no more. A group that takes more alone is refused."""
Footer = Any  # pyarrow.parquet.FileMetaData: pyarrow has no types


class Rows(NamedTuple):
    """The images of a split."""

    classes: tuple[str, ...]  # those that have images, in the order of their numbers
    paths: NDArray[np.bytes_]  # [N] relative to the files' folder, in the order of the files
    labels: NDArray[np.int64]  # [N]
    changed: dict[str, int]  # file -> time of its last change in ns
    named: tuple[str, ...] | None  # names of all numbers, where the files say them
    digest: bytes  # over names and footers of the files, numbers and names of the classes


def files(folder: Path, splits: dict[str, str]) -> tuple[Path, dict[str, list[str]]]:
    """Where the Parquet files of a data set lie, and the files of each split in order.

    ``splits``: words that file names begin with -> splits; other files are left aside. Raises
    :class:`DataError` for a split of which parts are missing.
    """
    for place in (folder / FOLDER, folder):
        found = _grouped(place, splits)
        if found:
            return place, {split: _complete(place, them) for split, them in found.items()}
    return folder, {}


def scan(folder: Path, names: list[str], columns: Columns) -> Rows | None:
    """All images of a split's files; None where none has a class: many sets hide those of tests.

    Raises :class:`DataError`.
    """
    digest = hashlib.sha256()
    paths: list[bytes] = []
    parts = []
    known: tuple[str, ...] | None = None
    for number, name in enumerate(names):
        path = folder / name
        with _short_errors(path), _opened(path) as file:
            _require_columns(file.schema_arrow, path, columns)
            said = _class_names(file.schema_arrow, columns.label)
            if number and said != known:
                raise DataError(
                    f"Parquet file {path}: its list of classes is not that of {names[0]}"
                )
            known = said
            parts.append(_labels(file, path, columns))
            _require_images(file, path, columns.image)
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(_footer_bytes(path))
        start = f"{name}//{columns.image}//"
        paths += [os.fsencode(f"{start}{row}") for row in range(len(parts[-1]))]
    labels = np.concatenate(parts)
    if not len(labels):
        raise DataError(f"Parquet files {folder / names[0]}: no row in {len(names)} files")
    if (labels < 0).all():
        return None
    _require_classes(labels, known, names, folder, columns)
    numbers, places = np.unique(labels, return_inverse=True)
    classes = tuple(str(it) if known is None else known[it] for it in numbers.tolist())
    digest.update(json.dumps([classes, known]).encode() + labels.tobytes())
    changed = {name: (folder / name).stat().st_mtime_ns for name in names}
    return Rows(classes, np.array(paths), places.astype(np.int64), changed, known, digest.digest())


def is_row(path: str) -> bool:
    """Whether a path is that of an image in a Parquet file."""
    return "//" in path and ROW.fullmatch(path) is not None


def content(path: str) -> bytes:
    """All bytes of an image. Raises OSError."""
    found = ROW.fullmatch(path)
    if found is None:
        raise FileNotFoundError(0, "is no row of a Parquet file", path)
    file, column, row = Path(found[1]), found[2], int(found[3])
    state = file.stat()
    with _short_errors(file):
        footer, starts = _footer(file, state.st_mtime_ns, state.st_size)
        group = bisect_right(starts, row) - 1
        if not 0 <= group < footer.num_row_groups:
            raise OSError(0, f"has {footer.num_rows} rows")
        key = (found[1], state.st_mtime_ns, state.st_size, column, group)
        images = _GROUPS.get(key, lambda: _read(file, footer, column, group))
        image: bytes | None = images[row - starts[group]].as_py()
    if image is None:
        raise OSError(0, "holds no bytes")
    return image


class _Groups:
    """The row groups that were read last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.nbytes = 0

    def get(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        """The images of a group, read where they are not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = read()
        self._kept[key] = made
        self.nbytes += made.nbytes
        while len(self._kept) > 1 and self.nbytes > self._most:
            self.nbytes -= self._kept.popitem(last=False)[1].nbytes
        return made


_GROUPS = _Groups(KEPT_BYTES)


def _grouped(place: Path, splits: dict[str, str]) -> dict[str, dict[str, re.Match[str]]]:
    """Split -> its files, by name."""
    found: dict[str, dict[str, re.Match[str]]] = {}
    if not place.is_dir():
        return found
    for name in sorted(os.listdir(place)):  # noqa: PTH208 (names)
        match = FILE.fullmatch(name)
        if match is not None and match[1] in splits:
            found.setdefault(splits[match[1]], {})[name] = match
    return found


def _complete(place: Path, found: dict[str, re.Match[str]]) -> list[str]:
    """The files of one split. Raises :class:`DataError` unless they are all of one split."""
    names, matches = list(found), list(found.values())
    kinds = {(it[1], it[3]) for it in matches}
    if len(kinds) > 1 or (matches[0][3] is None and len(names) > 1):
        raise DataError(f"Parquet files {place}: {names[0]} and {names[-1]} are not of one split")
    parts = [int(it[2]) for it in matches if it[2] is not None]
    expected = range(int(matches[0][3])) if parts else range(0)
    if parts != list(expected):
        lacking = sorted(set(expected) - set(parts))
        fault = f"part {lacking[0]} is missing" if lacking else "a part is there twice"
        raise DataError(f"Parquet files {place}: {names[0]} is of {len(expected)} parts; {fault}")
    return names


def _pyarrow() -> Any:
    try:
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        cure = "pip install 'dskd-bench[parquet]'"
        raise DataError(f"Parquet files need pyarrow, which is missing ({error}): {cure}") from None
    return pyarrow


@contextmanager
def _short_errors(path: Path) -> Iterator[None]:
    """What pyarrow raises becomes one line."""
    pyarrow = _pyarrow()
    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        with suppress(OSError), path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                reason = "it is a pointer of Git LFS; `git lfs pull` brings the data"
        raise DataError(f"Parquet file {path}: cannot be read: {reason}") from None


def _opened(path: Path, footer: Footer = None) -> Any:
    return _pyarrow().parquet.ParquetFile(path, metadata=footer)


@cache
def _footer(path: Path, time: int, size: int) -> tuple[Footer, list[int]]:  # noqa: ARG001
    """Footer of a file in this state, and the row that each group begins with."""
    with _opened(path) as file:
        footer = file.metadata
    sizes = (footer.row_group(it).num_rows for it in range(footer.num_row_groups))
    return footer, list(accumulate(sizes, initial=0))


def _footer_bytes(path: Path) -> bytes:
    """Where every part of the file lies and how long it is; its last 8 bytes say from where on."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)


def _read(path: Path, footer: Footer, column: str, group: int) -> Any:
    """The images of a row group: pyarrow's array of bytes."""
    with _opened(path, footer) as file:
        table = file.read_row_group(group, columns=[f"{column}.{BYTES}"], use_threads=False)
    return _pyarrow().compute.struct_field(table[column].combine_chunks(), BYTES)


def _class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    """The names that the Hugging Face hub's metadata give the numbers of ``column``."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (LookupError, TypeError, ValueError):
        return None


def _require_columns(schema: Any, path: Path, columns: Columns) -> None:
    """Raise :class:`DataError` unless both are there, each once."""
    named = columns._asdict().items()
    lacking = [
        f"no column {name!r} (data.{field}_column)"
        for field, name in named
        if schema.names.count(name) != 1
    ]
    if lacking:
        raise DataError(
            f"Parquet file {path}: has {' and '.join(lacking)}; its columns are "
            f"{', '.join(schema.names)}"
        )


def _labels(file: Any, path: Path, columns: Columns) -> NDArray[np.int64]:
    """[N]; -1 where there is none."""
    types = _pyarrow().types
    kind = file.schema_arrow.field(columns.label).type
    if not types.is_integer(kind):
        raise DataError(
            f"Parquet file {path}: column {columns.label!r} holds {kind}; labels must be integers, "
            "as the hub's ClassLabel is"
        )
    column = file.read(columns=[columns.label], use_threads=False)[columns.label]
    whole = column.cast(_pyarrow().int64()).fill_null(-1)
    labels: NDArray[np.int64] = whole.to_numpy()
    return labels


def _require_images(file: Any, path: Path, column: str) -> None:
    """Raise :class:`DataError` unless a column holds images, in row groups that fit in memory."""
    types = _pyarrow().types
    kind = file.schema_arrow.field(column).type
    held = kind.field(BYTES).type if types.is_struct(kind) and BYTES in kind.names else None
    if held is None or not (types.is_binary(held) or types.is_large_binary(held)):
        raise DataError(
            f"Parquet file {path}: column {column!r} holds {kind}; images must be a struct with "
            f"{BYTES}, as the hub's Image is"
        )
    place = _leaf(file.metadata, f"{column}.{BYTES}")
    for number in range(file.metadata.num_row_groups):
        chunk = file.metadata.row_group(number).column(place)
        if chunk.total_uncompressed_size > KEPT_BYTES:
            raise DataError(
                f"Parquet file {path}: the images of row group {number} take "
                f"{chunk.total_uncompressed_size / 1e6:,.0f} MB, at most {KEPT_BYTES / 1e6:,.0f} "
                "MB are read at once; write it again with smaller groups (row_group_size=100)"
            )
        said = chunk.statistics
        if said is not None and said.has_null_count and said.null_count:
            raise DataError(
                f"Parquet file {path}: {said.null_count} images of row group {number} have no "
                f"{BYTES}, only a path or nothing; images must lie in the file"
            )


def _leaf(footer: Footer, path: str) -> int:
    """Number of the column of that path among those that Parquet stores."""
    stored = (footer.schema.column(it).path for it in range(footer.num_columns))
    return next(number for number, it in enumerate(stored) if it == path)


def _require_classes(
    labels: NDArray[np.int64],
    known: tuple[str, ...] | None,
    names: list[str],
    folder: Path,
    columns: Columns,
) -> None:
    """Raise :class:`DataError` unless every image has one of the classes that the files name."""
    where = f"Parquet files {folder / names[0]}"
    if labels.min() < 0:
        lacking = int((labels < 0).sum())
        raise DataError(
            f"{where}: {lacking} of {len(labels)} images have no class: column "
            f"{columns.label!r} is negative or empty there"
        )
    if known is not None and labels.max() >= len(known):
        raise DataError(
            f"{where}: column {columns.label!r} holds {labels.max()}, but the file names "
            f"{len(known)} classes, 0 to {len(known) - 1}"
        )
    if known is not None and len(set(known)) < len(known):
        twice = next(name for name in known if known.count(name) > 1)
        raise DataError(f"{where}: two classes have the name {twice!r}")
