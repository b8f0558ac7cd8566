"""torch's global random streams, one set for each run: for dropout and stochastic depth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class GlobalStreams:
    """The streams as if no other run shared the process, from their present state on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.states = self._read()
        """The CPU's and, if that is where the run is, the GPU's."""

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Within it torch draws from the streams of this run."""
        torch.set_rng_state(self.states[0])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(self.states[1], self._device)
        yield
        self.states = self._read()

    def _read(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self._device))
        return states
