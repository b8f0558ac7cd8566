"""Kernel launches of a training step on a GPU, counted on one that is not there: exact, no times.

All methods with a teacher, in float32; the pair and batch of the other benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench import pairs
from bench.absent_gpu import step_work
from bench.budgets import INSIDE, OUTSIDE
from bench.registry import Figure, Settings
from suite import methods


def measure(settings: Settings) -> Iterator[Figure]:
    """Launches outside and inside of recordings; of KD also bytes and FLOPs."""
    images = pairs.dataset(settings)
    for name in methods.names():
        if not methods.find(name).uses_teacher:
            continue
        work = step_work(name, images)
        yield Figure(f"{name}: outside", work.outside.launches, "launches", at_most=OUTSIDE)
        yield Figure(
            f"{name}: recorded", work.inside.launches, "launches", at_most=INSIDE.get(name)
        )
        if name == "kd":
            moved = work.outside.moved + work.inside.moved
            yield Figure(f"{name}: moved", moved / 1e6, "MB/step")
            yield Figure(f"{name}: computed", work.inside.flops / 1e9, "GFLOP/step")
