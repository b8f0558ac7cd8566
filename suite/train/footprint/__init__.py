"""How much memory a run needs at its peak, found by steps of a few images.

The engine takes steps with three small batches, on the CPU and with random weights. What they make
and release, operation by operation, grows with the batch by simple rules
(:func:`suite.train.footprint.live.grown`), so the peak at any batch size follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from suite.loading import without_garbage_collection
from suite.train.features import BATCH_SIZE, IMAGES
from suite.train.footprint.dry_run import PASS_IMAGES, DryRun
from suite.train.footprint.live import Live, Trace, grown

__all__ = ["PASS_IMAGES", "DryRun", "Footprint", "footprint"]
Given = TypeVar("Given")
ROWS = (2, 4, 6)
"""Images of the dry steps: batch normalisation needs two, and halves are whole."""
LOOKS = (2, 3, 4)
"""Images of the dry evaluations."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of tensors that a run holds, and those that come and go."""

    shared: int
    """Data on the device and the teacher: once for all runs of a pack."""
    own: int
    """Weights, their gradients, the optimizer's state and what the method keeps."""
    batches: int
    """Batches that are there while a step computes: one, on a GPU those made ahead."""
    making: int
    """The most while they are made."""
    step: int
    """The most that a step adds, the teacher's part included."""
    looking: int
    """The most that an evaluation adds, or what is kept of features at the end."""

    def peak(self, *others: Footprint, recorded: bool = False) -> int:
        """The most of this run alone, or packed with ``others``.

        Runs of a pack step one after the other in the same memory; what is ``recorded`` on a GPU
        keeps its own.
        """
        pack = (self, *others)
        looking = max(it.looking for it in pack)
        if recorded:
            steps = sum(it.step for it in pack)
            return self._held(others) + steps + max(self.making, self.batches + looking)
        looked = self._held(others) + max(self.making, self.batches + looking)
        return max(looked, self.peak_of_steps(*others))

    def peak_of_steps(self, *others: Footprint) -> int:
        """The same of the steps alone, which are not recorded."""
        most = max(it.step for it in (self, *others))
        return self._held(others) + self.batches + most

    def _held(self, others: Sequence[Footprint]) -> int:
        return self.shared + self.own + sum(it.own for it in others)


def footprint(run: DryRun, *, on_gpu: bool = False) -> Footprint:
    """Of the run, which is to train on a CPU or on a GPU.

    Raises :class:`ValueError` where batches of different sizes do different things, and whatever
    a step raises.
    """
    live, parts = Live(), run.parts
    making: dict[int, Trace] = {}
    step: dict[int, Trace] = {}
    with without_garbage_collection():  # memory is released where nothing refers to it, only there
        shared = live.note(run.shared())
        live.note(run.own())
        with live:  # the optimizer makes its state, and what else is kept is met
            run.step(next(run.batches(ROWS[0] * parts)))
        own = live.bytes - shared
        for rows in ROWS:
            batches = run.batches(rows * parts)
            making[rows * parts], batch = _traced(live, partial(next, batches))
            step[rows], _ = _traced(live, partial(run.step, batch))
            del batches, batch
        evaluation = {rows: _traced(live, partial(run.evaluate, rows))[0] for rows in LOOKS}
        features = {rows: _traced(live, partial(run.features, rows))[0] for rows in LOOKS}
    made = grown(making, run.images_made(on_gpu=on_gpu)).levels
    copied = run.batch_size - parts * run.micro_batch_size  # images, into the layout of a step
    evaluated = max(grown(evaluation, run.images_evaluated).levels)
    return Footprint(
        shared=shared,
        own=own,
        batches=made[-1],
        making=max(made),
        step=max(grown(step, run.micro_batch_size).levels) + copied * run.image_bytes,
        looking=max(evaluated, _kept(features, run, on_gpu=on_gpu)),
    )


def _kept(traces: dict[int, Trace], run: DryRun, *, on_gpu: bool) -> int:
    """The most that the features at the end add; on a CPU all batches of them stay, and are joined
    to a copy of their own.
    """
    levels = grown(traces, min(BATCH_SIZE, run.images)).levels
    if on_gpu:
        return max(levels)
    batches = math.ceil(min(IMAGES, run.images) / BATCH_SIZE)
    return max((batches - 1) * levels[-1] + max(levels), 2 * batches * levels[-1])


def _traced(live: Live, action: Callable[[], Given]) -> tuple[Trace, Given]:
    """Events of the action up to its end, its result alive."""
    live.begin()
    with live:
        result = action()
    return live.trace(), result
