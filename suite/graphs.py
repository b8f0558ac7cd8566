"""Whole steps as CUDA graphs: at batch 64 a GPU computes faster than Python can launch kernels.

A function of tensors is recorded once and replayed with new contents in the same memory: the same
kernels in the same order, so the same bits. What cannot be recorded (a method that waits for the
device) runs kernel by kernel as before, with a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Given = TypeVar("Given")
Record = Callable[[Callable[[], Given], Sequence[torch.Generator]], Callable[[], Given]]
"""Function and the generators it draws from -> what replays it and gives its results."""
WARM_UP = 3  # calls before recording: libraries choose kernels and make their workspaces


def record(
    function: Callable[[], Given], generators: Sequence[torch.Generator]
) -> Callable[[], Given]:
    """Record ``function`` on the GPU, without computing anything yet."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        results = function()

    def replay() -> Given:
        graph.replay()
        return results

    return replay


class Graphed(Generic[Given]):
    """Calls ``function`` on tensors, by replay once it has been recorded.

    Results lie in memory that the next call overwrites. ``function`` may read nothing that changes
    between calls but its arguments, memory that is changed in place, and what ``key`` names.
    """

    def __init__(
        self,
        function: Callable[..., Given],
        generators: Sequence[torch.Generator] = (),
        record: Record[Given] = record,
    ) -> None:
        self._function = function
        self._generators = generators
        self._record = record
        self._calls = 0
        self._possible = True
        self._key: Hashable = None
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Given] | None = None

    def __call__(self, inputs: Sequence[Tensor], key: Hashable = None) -> Given:
        """``function(*inputs)``; another ``key`` or other shapes are recorded anew.

        The smaller batch at the end of an epoch is not: it comes once.
        """
        self._calls += 1
        shapes = [tensor.shape for tensor in inputs]
        if self._calls == 1:
            self._shapes = shapes
        if not self._possible or self._calls <= WARM_UP or shapes != self._shapes:
            return self._function(*inputs)
        if self._replay is None or key != self._key:
            replay = self._recorded(inputs)
            if replay is None:
                return self._function(*inputs)
            self._key, self._replay = key, replay
        for place, tensor in zip(self._inputs, inputs, strict=True):
            place.copy_(tensor)
        return self._replay()

    def give_up(self) -> None:
        """Call the function itself from now on."""
        self._possible = False
        self._replay = None

    def _recorded(self, inputs: Sequence[Tensor]) -> Callable[[], Given] | None:
        self._replay = None  # its memory can be used again
        self._inputs = [tensor.clone() for tensor in inputs]
        states = [generator.get_state() for generator in self._generators]
        try:
            return self._record(lambda: self._function(*self._inputs), self._generators)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            log.warning("no CUDA graph, the steps go kernel by kernel: %s", reason)
            self.give_up()
            for generator, state in zip(self._generators, states, strict=True):
                generator.set_state(state)
            return None
