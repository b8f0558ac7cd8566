"""Runs side by side on one GPU: each puts its kernels into a stream of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Lanes:
    """``count`` streams beside the main one; without a GPU, or for one run, there is one order.

    Kernels of different lanes may run at the same time: a small network leaves most of a GPU idle.
    """

    def __init__(self, device: torch.device, count: int) -> None:
        beside = count if device.type == "cuda" and count > 1 else 0
        self._device = device
        new: Any = torch.cuda.Stream
        self._streams = [new(device) for _ in range(beside)]

    @contextmanager
    def lane(self, number: int) -> Iterator[None]:
        """Within it kernels go into lane ``number``, after all that the main stream has so far."""
        if not self._streams:
            yield
            return
        stream = self._streams[number]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            yield

    def join(self) -> None:
        """Let the main stream go on only after all that the lanes have so far."""
        for stream in self._streams:
            torch.cuda.current_stream(self._device).wait_stream(stream)
