"""Weights made elsewhere: files of other code bases, checked before they are loaded.

The CIFAR networks of ``suite/models/zoo`` also take the checkpoints of RepDistiller and mdistiller,
whose names of parameters their ``reference_names`` translate.
"""

from __future__ import annotations

import argparse
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

WRAPPERS = ("model", "state_dict")
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
"""What may stand beside the tensors: plain data, without code of its own."""
DAMAGED = (
    *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(MemoryError, OverflowError, struct.error, SafetensorError),
)
"""What reading a torn, empty or foreign file raises."""


class WeightsError(UserError):
    """The file cannot be read or does not fit the network."""


def load_foreign(model: nn.Module, path: Path) -> None:
    """Load a state_dict file (safetensors, or ``torch.save`` readable with ``weights_only``).

    Files that wrap the state_dict under ``model`` or ``state_dict``, names with the prefix
    ``module.``, and the student inside an mdistiller distiller are understood. Raises
    :class:`WeightsError` naming what does not fit; then the network is as it was.
    """
    state, own = _read(path), model.state_dict()
    renamed = _rename(state, getattr(model, "reference_names", {}))
    if len(own.keys() & renamed.keys()) > len(own.keys() & state.keys()):
        state = renamed
    faults = _faults(state, own)
    if faults:
        raise WeightsError(f"{path} does not fit {type(model).__name__}: {'; '.join(faults)}")
    model.load_state_dict(state)


def _faults(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    # Files of PyTorch 0.4.0 lack the batch counters, which load_state_dict then sets to 0.
    counters = {name for name in own if name.endswith(".num_batches_tracked")}
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    kinds = {
        "missing": sorted(own.keys() - state.keys() - counters),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": shapes,
    }
    return [f"{len(names)} {kind} (first: {names[0]})" for kind, names in kinds.items() if names]


def _rename(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Apply every pattern once, in order, to every name."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(HARMLESS):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds code ({found[1]})" if found else "no file of weights, or damaged"
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
