"""Memory: what is estimated before a run starts against what it takes, every method of two pairs.

A run goes from its data in memory to its record, with few images, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from bench import whole_run
from bench.registry import Figure, Settings
from bench.whole_run import Pair
from suite import methods

PACK = ("kd", "fitnet", "crd", "dskd")
PAIRS: dict[str, Callable[[], Pair]] = {
    "digits": whole_run.digits,
    "cifar": lambda: whole_run.cifar(train_images=256, test_images=500),
}
LOW, HIGH = 0.8, 1.2


def measure(settings: Settings) -> Iterator[Figure]:
    """Of the runs of each method, and of a pack of four."""
    context = multiprocessing.get_context("spawn")
    of_device = _on_gpu if settings.device == "cuda" else _on_cpu
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for pair in PAIRS:
            for group in (*((it,) for it in methods.names()), PACK):
                yield from pool.submit(of_device, pair, group, settings.threads).result()


def _on_cpu(name: str, group: Sequence[str], threads: int) -> list[Figure]:
    torch.set_num_threads(threads)
    pair, label = PAIRS[name](), f"{name}, {' + '.join(group)}"
    resident = whole_run.resident_at_peak(pair, group)
    estimated, measured = whole_run.estimated(pair, group), whole_run.measured(pair, group)
    return [
        _ratio(f"{label}: steps", estimated.steps, measured.steps),
        _ratio(f"{label}: run", estimated.run, measured.run, f"; resident {_mb(resident)}"),
    ]


def _on_gpu(name: str, group: Sequence[str], threads: int) -> list[Figure]:
    torch.set_num_threads(threads)
    pair, label = PAIRS[name](), f"{name}, {' + '.join(group)}"
    first, *others = whole_run.footprints(pair, group, on_gpu=True)
    measured = whole_run.measured_on_gpu(pair, group)
    return [
        _ratio(f"{label}: tensors", first.peak(*others), measured.allocated),
        _ratio(f"{label}: kept", first.peak(*others, recorded=True), measured.reserved),
    ]


def _ratio(name: str, estimated: int, measured: int, note: str = "") -> Figure:
    told = f"{_mb(estimated)} estimated, {_mb(measured)} measured{note}"
    return Figure(name, estimated / measured, "x", at_least=LOW, at_most=HIGH, note=told)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
