"""Checkpoints that survive a kill in the middle of writing, and say so when they are damaged.

A file is one header line with the SHA-256 of the rest, then what ``torch.save`` wrote. The one
before is kept: a damaged newest checkpoint costs the time since the one before, not the run.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from typing_extensions import Buffer

from suite.interface.errors import UserError
from suite.store.record import RunDirectory, stream_atomically

MAGIC = b"dskd-bench checkpoint 1 sha256="
HEADER_BYTES = len(MAGIC) + 64 + 1
log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """No checkpoint of the run can be read; the message names the files."""


def save(run: RunDirectory, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dictionaries), keeping the one before."""
    if run.checkpoint.exists():
        run.checkpoint.replace(run.previous_checkpoint)
    stream_atomically(run.checkpoint, partial(_write, state))


def load(
    run: RunDirectory, fault: Callable[[dict[str, Any]], str | None] = lambda _: None
) -> dict[str, Any] | None:
    """The newest readable state, None before the first. Raises :class:`CheckpointError`.

    ``fault`` says what is wrong with a state that can be read, None if nothing is.
    """
    files = [path for path in (run.checkpoint, run.previous_checkpoint) if path.exists()]
    faults = []
    for path in files:
        try:
            state = _read(path)
            if (reason := fault(state)) is None:
                return state
            raise CheckpointError(f"checkpoint {path} cannot be used: {reason}")
        except CheckpointError as error:
            log.warning("%s", error)
            faults.append(str(error))
    if faults:
        raise CheckpointError(
            f"{'; '.join(faults)}; delete the damaged file(s) to train the run from its start"
        )
    return None


def remove(run: RunDirectory) -> None:
    """Delete the checkpoints of a finished run."""
    run.checkpoint.unlink(missing_ok=True)
    run.previous_checkpoint.unlink(missing_ok=True)


class _Hashing:
    """A file that is written from here on, and the hash of what was written.

    torch calls it from C++, where an error ends the process: the first one is kept for later.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, part: Buffer) -> int:
        """All of it."""
        if self.error is None:
            try:
                self._file.write(part)
            except OSError as error:
                self.error = error
            self.sha256.update(part)
        return memoryview(part).nbytes

    def flush(self) -> None:
        """Nothing: the file is closed soon, and its errors are then Python's."""


def _write(state: dict[str, Any], file: BinaryIO) -> None:
    """Tensor by tensor: a second copy of CRD's banks on ImageNet would be 1.3 GB."""
    file.write(_header(hashlib.sha256()))
    hashing = _Hashing(file)
    torch.save(state, cast(IO[bytes], hashing))
    if hashing.error is not None:
        raise hashing.error
    file.seek(0)
    file.write(_header(hashing.sha256))


def _header(sha256: Any) -> bytes:
    digest: str = sha256.hexdigest()
    return MAGIC + digest.encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        header, start = file.readline(HEADER_BYTES), file.tell()
        if header != _header(hashlib.file_digest(file, "sha256")):
            raise CheckpointError(
                f"checkpoint {path} is damaged (its content does not match its hash)"
            )
        file.seek(start)
        try:
            # On the CPU, wherever it was written: what loads the state moves it to its own device
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from None
    return state
