"""The moving average of a network's weights: what is evaluated and shipped in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """After every step: average <- decay average + (1 - decay) weights, from the first weights on.

    Running statistics are averaged like weights, as timm's ModelEmaV3 does; whole numbers are
    taken as they are. Without a ``decay`` there is no average, and nothing costs anything.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        self._live = {} if decay is None else network.state_dict()  # the network's own memory
        self._kept = {name: tensor.clone() for name, tensor in self._live.items()}
        move = get_ema_multi_avg_fn(decay or 0.0)  # type: ignore[no-untyped-call]
        self._move: Callable[[list[Tensor], list[Tensor], int], None] = move
        self._shown = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        floats = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        if floats:
            self._move([self._kept[it] for it in floats], [self._live[it] for it in floats], 0)
        for name in self._live.keys() - set(floats):
            self._kept[name].copy_(self._live[name])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within it the network has the average's weights, in the same memory."""
        if self._shown:
            yield
            return
        self._swap()
        self._shown = True
        try:
            yield
        finally:
            self._shown = False
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Of a checkpoint."""
        return self._kept

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from ``state``."""
        for name, tensor in self._kept.items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live.items():
            weights = live.clone()
            live.copy_(self._kept[name])
            self._kept[name].copy_(weights)
