"""The frozen teacher as fast as it goes: what it says of a batch, without gradient, in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from suite.interface.taps import Outputs, TappedModel
from suite.models.folding import folded

CACHED_VALUES = 2**19
"""On a CPU the teacher looks at so many images at a time that its largest map has about so many
values: 2 MiB in float32, the cache of a core. Each image goes through alone, so nothing changes."""
FEWEST_AT_ONCE = 8  # below that convolutions get slower; then all are looked at together


class Teacher:
    """Answers for all students of a pack.

    ``fast`` folds batch normalisation into the convolutions; the outputs are then the network's
    own up to floating-point order. ``network`` is the teacher itself and stays as it is.
    """

    def __init__(
        self, network: TappedModel, fabric: Fabric, layout: torch.memory_format, *, fast: bool
    ) -> None:
        self.network = network
        quick = folded(network) if fast else network
        self._quick = quick.to(memory_format=layout) if fast else quick
        self._fabric = fabric
        sizes = [math.prod(network.shapes[stage]) for stage in network.stages]
        at_once = CACHED_VALUES // max(sizes)
        chunked = fast and fabric.device.type == "cpu" and at_once >= FEWEST_AT_ONCE
        self._at_once = at_once if chunked else None

    @torch.no_grad()
    def __call__(self, image: Tensor, taps: Sequence[str]) -> Outputs:
        """image [B, channels, H, W] -> logits and the taps asked for, each [B, ...]."""
        if self._at_once is None:
            return self._ask(image, taps)
        parts = [self._ask(some, taps) for some in torch.split(image, self._at_once)]
        logits = torch.cat([part.logits for part in parts])
        return Outputs(logits, {tap: torch.cat([part[tap] for part in parts]) for tap in taps})

    def _ask(self, image: Tensor, taps: Sequence[str]) -> Outputs:
        with self._fabric.autocast():
            outputs: Outputs = self._quick(image, taps)
        return outputs.float()
