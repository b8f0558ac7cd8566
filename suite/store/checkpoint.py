"""Checkpoints that survive a kill in the middle of writing, and say so when they are damaged.

A file is one header line with the SHA-256 of the rest, then what ``torch.save`` wrote. The one
before is kept: a damaged newest checkpoint costs the time since the one before, not the run.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from suite.interface.errors import UserError
from suite.store.record import RunDirectory, write_atomically

MAGIC = b"dskd-bench checkpoint 1 sha256="
log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """No checkpoint of the run can be read; the message names the files."""


def save(run: RunDirectory, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dictionaries), keeping the one before."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    header = MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    if run.checkpoint.exists():
        run.checkpoint.replace(run.previous_checkpoint)
    write_atomically(run.checkpoint, header + payload)


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


def _read(path: Path) -> dict[str, Any]:
    header, _, payload = path.read_bytes().partition(b"\n")
    expected = header.removeprefix(MAGIC).decode(errors="replace")
    if not header.startswith(MAGIC) or hashlib.sha256(payload).hexdigest() != expected:
        raise CheckpointError(f"checkpoint {path} is damaged (its content does not match its hash)")
    try:
        # On the CPU, wherever it was written: what loads the state moves it to its own device
        state: dict[str, Any] = torch.load(
            io.BytesIO(payload), map_location="cpu", weights_only=True
        )
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from None
    return state
