"""Files of published data sets, read only when they are the published ones."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from suite.data.base import DataError


def read_checked(name: str, folders: Sequence[Path], digest: tuple[str, str], advice: str) -> bytes:
    """The content of the file ``name``, or of ``name.gz``, in the first folder that has it.

    ``digest`` is a hash of :mod:`hashlib` and its hexadecimal value, of the content: archives of
    one content differ. Raises :class:`DataError`, which ends with ``advice``.
    """
    files = [folder / file for folder in folders for file in (name, f"{name}.gz")]
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        places = " or ".join(map(str, folders))
        raise DataError(f"data file {name}: is not in {places}. {advice}")
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"data file {path}: cannot be read: {error}. {advice}") from None
    kind, expected = digest
    found = hashlib.new(kind, content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"data file {path}: is damaged or another: the {kind} of its content is {found}, "
            f"expected {expected}. {advice}"
        )
    return content
