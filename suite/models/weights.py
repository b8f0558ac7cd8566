"""Files of weights made elsewhere: read without running code from them, hashed, loaded."""

from __future__ import annotations

import argparse
import hashlib
import logging
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from suite.interface.errors import UserError, shortened
from suite.models import matching

log = logging.getLogger(__name__)

WRAPPERS = ("model", "state_dict", "net")
"""Keys under which checkpoints hold the state_dict."""
_SCALAR = np.float64(0).__reduce__()[0]  # what unpickles a numpy number
HARMLESS: list[Any] = [
    argparse.Namespace,  # RepDistiller's last checkpoint holds its command line
    # Both keep the optimizer's learning rate as a numpy number, under old or new numpy's name.
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]
"""Types that a file may hold beside tensors: plain data that runs no code."""
DAMAGED = (
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(MemoryError, OverflowError, struct.error, SafetensorError),
)
"""What reading a torn, empty or foreign file raises."""


class WeightsError(UserError):
    """The file cannot be read or does not fit the network."""


def load_foreign(model: Any, path: Path) -> None:
    """Load all weights of a network from a file (safetensors, or ``torch.save``'s without code).

    :mod:`suite.models.matching` says which names it understands. Raises :class:`WeightsError`
    naming what does not fit; then the network is as it was.
    """
    feature_only = isinstance(model.get_classifier(), nn.Identity)  # it has no use for the file's
    _load(model, read(path), path, without_head=feature_only)


def load_initial(model: nn.Module, path: Path, sha256: str) -> None:
    """Start a network from the weights in a file; a classifier for other classes stays new.

    Raises :class:`WeightsError`, also when the file does not hold the weights of this hash.
    """
    state = read(path)
    check_hash(weights_sha256(state), sha256, str(path))
    _load(model, state, path, without_head=True)


def check_hash(actual: str, expected: str, where: str) -> None:
    """Raise :class:`WeightsError` when these are not the weights that a run was planned with."""
    if actual != expected:
        raise WeightsError(
            f"{where}: the weights have sha256 {actual[:16]}..., the run was planned with "
            f"{expected[:16]}...; give it those, or plan the run anew"
        )


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load(model: nn.Module, state: Mapping[str, Tensor], path: Path, *, without_head: bool) -> None:
    match = matching.match(model, state)
    if not without_head and match.only_other_classes:
        raise WeightsError(
            f"{path} is for {match.classes_of_file} classes, the data have {match.classes}; "
            "`fine_tune: true` gives it a new classifier and trains it on the data"
        )
    faults = match.faults(without_head=without_head)
    if faults:
        raise WeightsError(f"{path} does not fit {type(model).__name__}: {'; '.join(faults)}")
    fitting = match.fitting()
    model.load_state_dict(fitting, strict=False)
    fresh = "" if len(fitting) == len(match.state) else "; all but the classifier"
    log.info("weights %s: %d tensors, names as %s%s", path, len(fitting), match.how, fresh)


def read(path: Path) -> dict[str, Tensor]:
    """The state_dict in a file. Raises :class:`WeightsError`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds code ({refused[1]})" if refused else "no file of weights, or damaged"
        raise WeightsError(f"cannot read weights {path}: {reason}; allowed: tensors") from None
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from None
    except DAMAGED as error:
        detail = shortened(" ".join(f"{type(error).__name__}: {error}".split()))
        raise WeightsError(
            f"cannot read weights {path}: no file of weights, or damaged ({detail})"
        ) from None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state_dict")
    return _student({str(name).removeprefix("module."): v for name, v in content.items()})


def _student(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The student alone, where the file is the distiller around it."""
    prefix = "student."
    inside = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    return inside or state
