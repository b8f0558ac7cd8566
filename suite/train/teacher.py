"""The frozen teacher as fast as it goes: what it says of a batch, without gradient, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from suite.config import TrainConfig
from suite.device.graphs import Graphed, Record
from suite.device.precision import round_weights
from suite.interface.taps import Outputs, TappedModel
from suite.models.folding import folded
from suite.train.optimization.accumulation import micro_batch_size

CACHED_VALUES = 2**19
"""On a CPU the teacher looks at so many images at a time that its largest map has about so many
values: 2 MiB in float32, the cache of a core. Each image goes through alone, so nothing changes."""
FEWEST_AT_ONCE = 8  # below that convolutions get slower; then all are looked at together


class _Recorded(NamedTuple):
    taps: tuple[str, ...]
    graphed: Graphed[Outputs]


class Teacher:
    """Answers for all students of a pack.

    ``fast`` folds batch normalisation into the convolutions; the outputs are then the network's
    own up to floating-point order. ``network`` is the teacher itself and stays as it is.
    ``record`` records its kernels for as many images as a run computes at once.
    """

    def __init__(
        self,
        network: TappedModel,
        fabric: Fabric,
        train: TrainConfig,
        layout: torch.memory_format,
        *,
        fast: bool,
        record: Record[Outputs] | None = None,
    ) -> None:
        self.network = network
        self._quick = network
        if fast:
            self._quick = folded(network).to(memory_format=layout)
            round_weights(self._quick, train.precision)
        self._fabric = fabric
        self._rows = micro_batch_size(train)
        self._record = record
        self._recorded: dict[str, _Recorded] = {}  # by view
        at_once = CACHED_VALUES // network.widest
        chunked = fast and fabric.device.type == "cpu" and at_once >= FEWEST_AT_ONCE
        self._at_once = at_once if chunked else None

    @property
    def networks(self) -> tuple[TappedModel, ...]:
        """All whose weights are in memory: the teacher, and what answers in its place."""
        return (self.network,) if self._quick is self.network else (self.network, self._quick)

    @torch.no_grad()
    def __call__(self, image: Tensor, taps: Sequence[str], view: str = "") -> Outputs:
        """image [B, channels, H, W] -> logits and the taps asked for, each [B, ...].

        They may lie in memory that the next call for the same ``view`` overwrites.
        """
        if self._at_once is None:
            return self._recording(tuple(taps), view)(image)
        parts = [self._ask(some, taps) for some in torch.split(image, self._at_once)]
        logits = torch.cat([part.logits for part in parts])
        return Outputs(logits, {tap: torch.cat([part[tap] for part in parts]) for tap in taps})

    def _recording(self, taps: tuple[str, ...], view: str) -> Graphed[Outputs]:
        """What answers; runs that end or fail may take the need for some taps along."""
        if view not in self._recorded or self._recorded[view].taps != taps:
            graphed = Graphed(partial(self._ask, taps=taps), self._rows, record=self._record)
            self._recorded[view] = _Recorded(taps, graphed)
        return self._recorded[view].graphed

    def _ask(self, image: Tensor, taps: Sequence[str]) -> Outputs:
        with self._fabric.autocast():
            outputs: Outputs = self._quick(image, taps)
        return outputs.float()
