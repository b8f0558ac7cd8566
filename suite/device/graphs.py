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
    """Record ``function`` on the GPU, without computing anything yet.

    Other threads may use the GPU meanwhile, such as the one that pins the memory of batches.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function()

    def replay() -> Given:
        graph.replay()
        return results

    return replay


class Graphed(Generic[Given]):
    """Calls ``function`` on tensors, by replay once it has been recorded.

    Results lie in memory that the next call overwrites. ``function`` may read nothing that changes
    between calls but its arguments, memory that is changed in place, and what ``reads`` gives. It
    must also be right after a call that has failed halfway, as a recording may. Inputs with another
    number of ``rows``, as the last batch of an epoch, come once and are not recorded.
    """

    def __init__(
        self,
        function: Callable[..., Given],
        rows: int,
        generators: Sequence[torch.Generator] = (),
        record: Record[Given] | None = record,
        reads: Callable[[], Hashable] = lambda: None,
    ) -> None:
        self._function = function
        self._rows = rows
        self._generators = generators
        self._record = record
        self._reads = reads
        self._calls = 0
        self._recorded: Hashable = None  # what was read
        self._inputs: list[Tensor] = []
        self._replay: Callable[[], Given] | None = None

    def __call__(self, *inputs: Tensor) -> Given:
        """``function(*inputs)``; recorded anew when it reads something else."""
        if self._record is None or len(inputs[0]) != self._rows:
            return self._function(*inputs)
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._function(*inputs)
        if self._replay is None or self._recorded != self._reads():
            self._replay = None  # its memory can be used again
            self._replay = self._try(self._record, inputs)
            self._recorded = self._reads()
        if self._replay is None:
            return self._function(*inputs)
        for held, given in zip(self._inputs, inputs, strict=True):
            held.copy_(given)
        return self._replay()

    def give_up(self) -> None:
        """Call the function itself from now on."""
        self._record = None
        self._replay = None

    def _try(self, record: Record[Given], inputs: Sequence[Tensor]) -> Callable[[], Given] | None:
        self._inputs = [tensor.clone() for tensor in inputs]
        drawn_from = [*self._generators, *_defaults(inputs[0].device)]
        states = [generator.get_state() for generator in drawn_from]
        try:
            return record(lambda: self._function(*self._inputs), self._generators)
        except RuntimeError as error:
            log.warning(
                "no CUDA graph, the steps go kernel by kernel: %s", _cause(error), exc_info=error
            )
            self.give_up()
            for generator, state in zip(drawn_from, states, strict=True):
                _begin_anew(generator, state)
            return None


def _defaults(device: torch.device) -> Sequence[torch.Generator]:
    """torch's own generator of a GPU, which every recording on it registers."""
    return [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []


def _begin_anew(generator: torch.Generator, state: Tensor) -> None:
    """Give ``generator`` the state from before a recording that failed.

    Up to torch 2.12 a failed recording leaves a GPU's generator recording; it then refuses to draw
    ("Offset increment outside graph capture"), whatever state it is set to, so it gets another
    inner state altogether.
    """
    if generator.device.type != "cuda":
        generator.set_state(state)
        return
    fresh = torch.Generator(generator.device)
    fresh.set_state(state)
    generator.graphsafe_set_state(fresh)


def _cause(error: BaseException) -> str:
    """The first error, in one line: that of the capture's end says only that it has failed."""
    while error.__context__ is not None and not error.__suppress_context__:
        error = error.__context__
    return f"{error}".partition("\n")[0] or type(error).__name__
