"""What a run sums up over an epoch, without making the host wait for the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor


class Meter:
    """Sums over an epoch, kept on the device and read once; of several ranks, their mean.

    ``skips``: steps whose loss is not finite were left out of training and count in no mean.
    """

    def __init__(self, start: Mapping[str, float], fabric: Fabric, *, skips: bool = False) -> None:
        self._fabric = fabric
        self._skips = skips
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=fabric.device)
            for name, value in start.items()
        }

    def add(
        self,
        images: int,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        hits: Tensor,
        diagnostics: Mapping[str, Tensor],
    ) -> None:
        """Add one batch: losses and diagnostics are averaged over steps, hits over images."""
        one = torch.ones((), device=self._fabric.device)
        found = {"steps": one, "train/loss": loss}
        found |= {f"train/{name}": term for name, term in terms.items()}
        found |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
        if self._skips:
            made = torch.isfinite(loss)
            found = {name: torch.where(made, value, 0.0) for name, value in found.items()}
        found = {"images": one * images, "hits": hits, **found}
        for name, value in found.items():
            wide = value.detach().double()
            self._sums[name] = self._sums[name] + wide if name in self._sums else wide

    def read(self) -> dict[str, float]:
        """The sums so far, those before the last resume included."""
        sums = torch.stack(list(self._sums.values()))
        values = cast(Tensor, self._fabric.all_reduce(sums, reduce_op="mean")).tolist()
        return dict(zip(self._sums, values, strict=True))
