"""Kernel launches of a step, counted on a GPU that is not there; from them its time, by a model.

All methods with a teacher, in float32; the pair and batch of the other benchmarks. The counts are
exact, the times those of ``bench/h100.py``: a model with its assumptions, of an H100.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import h100, pairs
from bench.absent_gpu import step_work
from bench.budgets import INSIDE, OUTSIDE
from bench.registry import Figure, Settings
from suite import methods
from suite.interface.absent_gpu import Operation

MODELLED = ("kd", "dkd", "fitnet", "crd", "dskd")
STEPS = pairs.EPOCHS * 782
"""Of CIFAR-100's 50,000 images in batches of 64."""
GOAL_MINUTES = 5.0


def measure(settings: Settings) -> Iterator[Figure]:
    """Launches outside and inside of recordings, bytes and FLOPs; of some the modelled time."""
    images = pairs.dataset(settings)
    for name in methods.names():
        if not methods.find(name).uses_teacher:
            continue
        work = step_work(name, images)
        yield Figure(f"{name}: outside", work.outside.launches, "launches", at_most=OUTSIDE)
        yield Figure(
            f"{name}: recorded", work.inside.launches, "launches", at_most=INSIDE.get(name)
        )
        moved = work.outside.moved + work.inside.moved
        yield Figure(f"{name}: moved", moved / 1e6, "MB/step")
        yield Figure(f"{name}: computed", work.inside.flops / 1e9, "GFLOP/step")
        if name in MODELLED:
            yield from _modelled(name, work.operations)


def _modelled(name: str, operations: Sequence[Operation]) -> Iterator[Figure]:
    """Milliseconds of a step on an H100, minutes of 240 epochs, and what bounds them."""
    for precision, arithmetic in h100.ARITHMETIC.items():
        yield from _times(f"{name}: {precision}", arithmetic.seconds(operations))
        products = arithmetic.seconds(h100.products(operations))
        yield from _times(f"{name}: {precision}, products alone", products)
    yield from _times(f"{name}: empty kernels", h100.floor_seconds(operations))


def _times(label: str, seconds: float) -> Iterator[Figure]:
    minutes = STEPS * seconds / 60
    yield Figure(f"{label}, model", 1000 * seconds, "ms/step", note="H100, not measured")
    of_goal = f"{minutes / GOAL_MINUTES:.2f} of the goal"
    yield Figure(f"{label}, model, 240 epochs", minutes, "min", note=of_goal)
