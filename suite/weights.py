"""Weights made elsewhere: files of other code bases, checked before they are loaded."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from suite.errors import UserError


class WeightsError(UserError):
    """The file cannot be read or does not fit the network."""


def load_foreign(model: nn.Module, path: Path) -> None:
    """Load a state_dict file (safetensors, or ``torch.save`` readable with ``weights_only``).

    Files that wrap the state_dict under ``model`` or ``state_dict`` and names with the prefix
    ``module.`` are understood. Raises :class:`WeightsError` naming what does not fit.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in _read(path).items()}
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if own[name].shape != state[name].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    named = [f"{len(names)} {kind} (first: {names[0]})" for kind, names in faults.items() if names]
    if named:
        raise WeightsError(f"{path} does not fit {type(model).__name__}: {'; '.join(named)}")
    model.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        raise WeightsError(f"cannot read weights {path}: {' '.join(str(error).split())}") from None
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state_dict")
    return content
