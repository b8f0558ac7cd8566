"""Memory: what is estimated before a run starts against what it takes, every method of two pairs.

A run goes from its data in memory to its record, with few images and weights that nobody trained.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import torch

from bench import whole_run
from bench.registry import Figure, Settings
from bench.whole_run import Pair
from suite import methods

Group = tuple[str, ...]
PACK: Group = ("kd", "fitnet", "crd", "dskd")
GROUPS: tuple[Group, ...] = (*((it,) for it in methods.names()), PACK)
RESIDENT: tuple[Group, ...] = (("kd",), PACK)
PAIRS: dict[str, Callable[[], Pair]] = {
    "digits": whole_run.digits,
    "cifar": lambda: whole_run.cifar(train_images=200, test_images=250),  # two of each class
}
LOW, HIGH = 0.8, 1.2


def measure(settings: Settings) -> Iterator[Figure]:
    """Tensors of every method's run and of a pack; of some also the process that trains them."""
    if settings.device == "cuda":
        for pair, group in product(PAIRS, GROUPS):
            yield from _in_own_process(_on_gpu, pair, [group], settings.threads)
        return
    for pair in PAIRS:
        yield from _in_own_process(_on_cpu, pair, GROUPS, settings.threads)
        for group in RESIDENT:
            yield from _in_own_process(_resident, pair, [group], settings.threads)


def _in_own_process(
    action: Callable[[str, Pair, Group], list[Figure]],
    pair: str,
    groups: Sequence[Group],
    threads: int,
) -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_each, action, pair, groups, threads).result()


def _each(
    action: Callable[[str, Pair, Group], list[Figure]],
    name: str,
    groups: Sequence[Group],
    threads: int,
) -> list[Figure]:
    torch.set_num_threads(threads)
    pair = PAIRS[name]()
    return [it for group in groups for it in action(f"{name}, {' + '.join(group)}", pair, group)]


def _on_cpu(label: str, pair: Pair, group: Group) -> list[Figure]:
    estimated, measured = whole_run.estimated(pair, group), whole_run.measured(pair, group)
    return [
        _ratio(f"{label}: steps", estimated.steps, measured.steps),
        _ratio(f"{label}: run", estimated.run, measured.run),
    ]


def _resident(label: str, pair: Pair, group: Group) -> list[Figure]:
    """Of a process with all libraries loaded, which has trained nothing before."""
    resident = whole_run.resident_at_peak(pair, group)
    note = f"{whole_run.estimated(pair, group).run / 1e6:.1f} MB of tensors estimated"
    return [Figure(f"{label}: resident", resident / 1e6, "MB", note=note)]


def _on_gpu(label: str, pair: Pair, group: Group) -> list[Figure]:
    first, *others = whole_run.footprints(pair, group, on_gpu=True)
    measured = whole_run.measured_on_gpu(pair, group)
    return [
        _ratio(f"{label}: tensors", first.peak(*others), measured.allocated),
        _ratio(f"{label}: kept", first.peak(*others, recorded=True), measured.reserved),
    ]


def _ratio(name: str, estimated: int, measured: int) -> Figure:
    note = f"{estimated / 1e6:.1f} MB estimated, {measured / 1e6:.1f} MB measured"
    return Figure(name, estimated / measured, "x", at_least=LOW, at_most=HIGH, note=note)
