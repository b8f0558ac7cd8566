"""Losses and gradients of the reference codes, and the rule by which ours are compared with them.

``golden(name, dtype)`` (a fixture, see ``conftest.py``; :func:`load` here) reads
``tests/golden/<name>.npz``, which no test writes. In float32 a loss may differ by
``tol_loss_rtol * |want| + tol_loss_atol`` and a gradient, entry by entry, by
``tol_grad_rel_to_max * max |want| + tol_grad_atol``; in float64 both may differ from the reference
code run in float64 by ``tol_f64_rtol`` times the largest entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
PRECISIONS = (torch.float32, torch.float64)
ZERO_IN_FLOAT64 = 1e-12  # absolute: gradients that are zero in exact arithmetic


@dataclass(frozen=True)
class Golden:
    """One case: tensors to feed, numbers to expect."""

    name: str
    dtype: torch.dtype
    inputs: dict[str, Tensor]
    """``in_*``: floats as ``dtype``, integers as int64; those with a stored gradient need one."""
    params: dict[str, Tensor]
    """``param_*``: parameters and buffers of the reference's modules, floats as ``dtype``."""
    hyper: dict[str, Any]
    """``hp_*`` as Python numbers."""
    arrays: dict[str, np.ndarray]
    """Everything in the file, by its name there."""

    def want(self, key: str) -> Tensor:
        """Reference value in this precision: float64 has its own where the file gives one."""
        if self.dtype == torch.float64 and f"f64_{key}" in self.arrays:
            key = f"f64_{key}"
        return torch.from_numpy(np.asarray(self.arrays[key]).copy()).double()

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The params below ``prefix.`` with the prefix cut off, for ``load_state_dict``."""
        cut = len(prefix) + 1
        return {key[cut:]: it for key, it in self.params.items() if key.startswith(f"{prefix}.")}

    def check_loss(self, found: Tensor, name: str = "loss") -> None:
        """Fail unless ``found`` is the reference's ``loss*``."""
        if self.dtype == torch.float64:
            relative, absolute = self._tolerance("f64_rtol"), 0.0
        else:
            relative, absolute = self._tolerance("loss_rtol"), self._tolerance("loss_atol")
        self._compare(found, name, relative, absolute)

    def check_gradient(self, found: Tensor | None, leaf: str, loss: str = "loss") -> None:
        """Fail unless ``found`` is the gradient of ``loss`` with respect to ``leaf``."""
        key = f"grad_{leaf}" if loss == "loss" else f"grad_{loss}_{leaf}"
        if found is None:
            raise AssertionError(f"{self.name}: {leaf} has no gradient")
        if self.dtype == torch.float64:
            relative, absolute = self._tolerance("f64_rtol"), ZERO_IN_FLOAT64
        else:
            relative, absolute = self._tolerance("grad_rel_to_max"), self._tolerance("grad_atol")
        self._compare(found, key, relative, absolute)

    def check_output(self, found: Tensor, name: str) -> None:
        """Fail unless ``found`` is ``out_<name>``, stored in float32 in both precisions."""
        relative, absolute = self._tolerance("grad_rel_to_max"), self._tolerance("grad_atol")
        self._compare(found, f"out_{name}", relative, absolute)

    def _tolerance(self, name: str) -> float:
        return float(self.arrays[f"tol_{name}"])

    def _compare(self, found: Tensor, key: str, relative: float, absolute: float) -> None:
        want, found = self.want(key), found.detach().double().cpu()
        if want.shape != found.shape:
            shapes = f"{tuple(found.shape)}, the reference {tuple(want.shape)}"
            raise AssertionError(f"{self.name}: {key} has shape {shapes}")
        gap = float((found - want).abs().max())
        allowed = relative * float(want.abs().max()) + absolute
        if not gap <= allowed:  # also catches nan
            raise AssertionError(f"{self.name}: {key} is off by {gap:.3g}, allowed {allowed:.3g}")


def load(name: str, dtype: torch.dtype = torch.float32) -> Golden:
    """The case ``name`` for a test in ``dtype`` (float32 or float64). Fails if it is missing."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    gradients = [key for key in arrays if key.startswith("grad_")]

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {key[len(prefix) :]: it for key, it in arrays.items() if key.startswith(prefix)}

    def tensors(prefix: str) -> dict[str, Tensor]:
        return {key: torch.from_numpy(np.array(it)) for key, it in under(prefix).items()}

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor.long()

    inputs = {key: cast(tensor) for key, tensor in tensors("in_").items()}
    for key, tensor in inputs.items():
        if any(gradient == f"grad_{key}" or gradient.endswith(f"_{key}") for gradient in gradients):
            tensor.requires_grad_()
    return Golden(
        name=name,
        dtype=dtype,
        inputs=inputs,
        params={key: cast(tensor) for key, tensor in tensors("param_").items()},
        hyper={key: value.item() for key, value in under("hp_").items()},
        arrays=arrays,
    )
