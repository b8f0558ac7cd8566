"""What a run sums up over an epoch, without making the host wait for the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor


class Figures(NamedTuple):
    """What there is to log of one step, in one tensor: adding it up is one kernel."""

    names: tuple[str, ...]
    values: Tensor  # one for each name


def figures_of(
    images: int,
    loss: Tensor,
    terms: Mapping[str, Tensor],
    hits: Tensor,
    diagnostics: Mapping[str, Tensor],
    *,
    skips: bool = False,
) -> Figures:
    """Of one batch: losses and diagnostics are averaged over steps, hits over images.

    ``skips``: a step whose loss is not finite is left out of training and counts in no mean.
    """
    one = torch.ones((), device=loss.device)
    counts = {"images": one * images, "hits": hits.float()}
    averaged = {"steps": one, "train/loss": loss}
    averaged |= {f"train/{name}": term for name, term in terms.items()}
    averaged |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
    values = _in_one([*averaged.values()])
    if skips:
        values = torch.where(torch.isfinite(loss), values, 0.0)
    return Figures((*counts, *averaged), torch.cat([_in_one([*counts.values()]), values]))


def _in_one(scalars: list[Tensor]) -> Tensor:
    """[F] float32, or float64 where one of them is."""
    flat = [scalar.detach().reshape(()) for scalar in scalars]
    return torch.stack([it if it.dtype == torch.float64 else it.float() for it in flat])


class Meter:
    """Sums over an epoch, kept on the device and read once; of several ranks, their mean."""

    def __init__(self, fabric: Fabric, start: Mapping[str, float]) -> None:
        self._fabric = fabric
        self._sums = {
            name: torch.full((), value, dtype=torch.float64, device=fabric.device)
            for name, value in start.items()
        }
        self._names: tuple[str, ...] = ()
        self._values = torch.zeros(0, dtype=torch.float64, device=fabric.device)

    def add(self, figures: Figures) -> None:
        """Add those of one step."""
        if figures.names != self._names:
            self._arrange(figures.names)
        self._values += figures.values

    def read(self) -> dict[str, float]:
        """The sums so far, those at the start included."""
        self._arrange(())
        sums = torch.stack(list(self._sums.values()))
        values = cast(Tensor, self._fabric.all_reduce(sums, reduce_op="mean")).cpu().tolist()
        return dict(zip(self._sums, values, strict=True))

    def _arrange(self, names: tuple[str, ...]) -> None:
        """Take the sums of ``names`` into one tensor, the others out of it."""
        self._sums |= dict(zip(self._names, self._values.unbind(), strict=True))
        zero = torch.zeros((), dtype=torch.float64, device=self._fabric.device)
        values = [self._sums.pop(name, zero) for name in names]
        self._names = names
        self._values = torch.stack(values) if values else self._values[:0]
