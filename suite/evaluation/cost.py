"""What a run's training costs alone: its steps timed on this machine, by the suite's own trainer.

Runs of a pack share a teacher's pass and book equal shares of the time, so that ``train_seconds``
does not compare methods. Here every method makes its steps alone, with its own teacher's pass and
its own batches; all methods take turns, so that a change of the machine hits them alike. What
comes before the first step (reading data, a method's pass over the training set) and evaluation
are not in it, as in ``train_seconds``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby, islice
from typing import Any

import torch

from suite.config import RunConfig, RunSpec, Runtime, parse
from suite.data import in_folders
from suite.device.machine import cores
from suite.interface.distiller import Batch
from suite.interface.errors import UserError
from suite.store import source
from suite.store.provenance import device_name, library_versions
from suite.store.record import RunDirectory, now
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.mixing import Mixing
from suite.train.pack import Pack, shared
from suite.train.teacher import Teacher

FEWEST_REPEATS = 6  # smallest and largest then hold the median with probability 1 - 2 / 2^6
MOST_IN_TURNS = 12
"""Networks with their optimizers in memory at the same time; of image folders, one."""


@dataclass(frozen=True)
class Plan:
    """How often which piece of training is timed."""

    steps: int = 20
    """Training steps of one repeat."""
    repeats: int = 9
    """After one that does not count; fewer than six have no interval of 95 %."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("repeats", FEWEST_REPEATS)):
            if getattr(self, name) < least:
                raise UserError(f"{name} {getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True)
class Timed:
    """How it went."""

    entries: list[dict[str, Any]]
    """See :func:`suite.store.cost.save`."""
    faults: tuple[str, ...]
    """A line for each run that could not be timed."""


def measure(
    runs: Sequence[RunDirectory], plan: Plan, runtime: Runtime, tell: Callable[[str], None]
) -> Timed:
    """Time training steps of finished runs; nothing of them changes.

    A run that cannot be built or trained is told, and the others go on. ``tell`` gets a line a
    group of runs that take turns.
    """
    entries: list[dict[str, Any]] = []
    faults: list[str] = []
    specs = []
    for run in runs:
        try:
            specs.append(parse(RunSpec, run.read_config() or {}, str(run.config)))
        except UserError as fault:
            faults.append(f"run {run.path.name}: {fault}")
    for group in _in_turns(specs):
        load = _load_average()
        clocks, broken = _clocks(group, runtime)
        for turn in range(1 + plan.repeats):
            for spec, clock in list(clocks.items()):
                try:
                    clock.repeat(plan.steps, counts=turn > 0)
                except Exception as error:  # noqa: BLE001  (the others go on)
                    broken[spec] = error
                    clocks.pop(spec).close()
        entries += [_entry(spec, clock, plan, load) for spec, clock in clocks.items()]
        for clock in clocks.values():
            clock.close()
        faults += [f"run {spec.run_id} ({spec.label}): {why}" for spec, why in broken.items()]
        tell(f"{', '.join(spec.label for spec in clocks) or 'none'}: timed in turns")
    return Timed(entries, tuple(faults))


def busy(load: float, threads: int) -> bool:
    """Whether other work was in the way: threads that ran before, and ours, on so many cores."""
    return load + threads > cores() + 0.5


class _Clock:
    """One run that trains alone, a few steps at a time, and what they took."""

    def __init__(self, config: RunConfig, ground: Ground, runtime: Runtime) -> None:
        self.ground, self.seconds = ground, list[float]()
        nowhere = RunDirectory(runtime.runs_root / ".cost")  # nothing is written
        self._trainer = build_trainer(config, ground, runtime, nowhere)
        self._pack = Pack(ground.fabric, [self._trainer], ground.teacher, ground.layout)
        steps = ground.data.train.steps(config.train.batch_size, 1)
        self.run_steps = config.train.epochs * steps
        self._batches = self._endless(config)
        self._trainer.begin()

    def repeat(self, steps: int, *, counts: bool) -> None:
        """Train so many steps, and keep their time where it counts."""
        self._wait()
        started = time.perf_counter()
        for batch in islice(self._batches, steps):
            self._pack.step([self._trainer], batch)
            for failure in self._pack.failures.values():
                raise failure
        self._trainer.pause(0.0)
        self._wait()
        if counts:
            self.seconds.append(time.perf_counter() - started)

    def close(self) -> None:
        """End the processes that load its images."""
        self.ground.data.close()

    def _endless(self, config: RunConfig) -> Iterator[Batch]:
        data, fabric = self.ground.data, self.ground.fabric
        views = tuple(self._trainer.step.distiller.views())
        for epoch in count(1):
            mixing = Mixing(config.data, data.num_classes, config.seed, fabric)
            size = config.train.batch_size
            batches = data.train.epoch(config.seed, epoch, size, views=views, epochs=epoch + 1)
            for step, batch in enumerate(batches):
                yield mixing(batch, epoch, step)

    def _wait(self) -> None:
        if self.ground.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.ground.fabric.device)


def _in_turns(specs: Sequence[RunSpec]) -> Iterator[list[RunSpec]]:
    """Runs of one student on one kind of images together, in the order given."""

    def alike(spec: RunSpec) -> Hashable:
        config = spec.config
        return (spec.role, config.student.name, config.data, config.train.precision)

    order: dict[Hashable, int] = {}
    numbers = [order.setdefault(alike(spec), len(order)) for spec in specs]
    ranked = sorted(zip(numbers, specs, strict=True), key=lambda pair: pair[0])
    for _, pairs in groupby(ranked, key=lambda pair: pair[0]):
        group = [spec for _, spec in pairs]
        most = 1 if in_folders(group[0].config.data.name) else MOST_IN_TURNS
        yield from (group[start : start + most] for start in range(0, len(group), most))


def _clocks(
    group: Sequence[RunSpec], runtime: Runtime
) -> tuple[dict[RunSpec, _Clock], dict[RunSpec, Exception]]:
    """The runs of a group, built; data and teacher are read once for those that share them."""
    clocks: dict[RunSpec, _Clock] = {}
    broken: dict[RunSpec, Exception] = {}
    grounds: dict[Hashable, Ground] = {}
    for spec in group:
        config = spec.config
        try:
            key = shared(config)
            if key not in grounds:
                grounds[key] = Ground.of(config, runtime, make_fabric(config, runtime))
            clocks[spec] = _Clock(config, _with_own_teacher(grounds[key], config, runtime), runtime)
        except Exception as error:  # noqa: BLE001  (the others go on)
            broken[spec] = error
    return clocks, broken


def _with_own_teacher(ground: Ground, config: RunConfig, runtime: Runtime) -> Ground:
    """Recorded kernels of a teacher are for the features that one run reads."""
    if ground.teacher is None:
        return ground
    network, fabric = ground.teacher.network, ground.fabric
    teacher = Teacher(
        network, fabric, config.train, ground.layout, fast=runtime.fast, record=ground.record
    )
    return replace(ground, teacher=teacher)


def _entry(spec: RunSpec, clock: _Clock, plan: Plan, load: float) -> dict[str, Any]:
    return {
        "run_id": spec.run_id,
        "label": spec.label,
        "device": device_name(clock.ground.fabric.device),
        "threads": torch.get_num_threads(),
        "steps": plan.steps,
        "seconds": clock.seconds,
        "run_steps": clock.run_steps,
        "load_average": load,
        "cores": cores(),
        "date": now(),
        "source_sha256": source.combined(source.hashes(source.behind((__name__,), source.RUNS))),
        "versions": library_versions(),
    }


def _load_average() -> float:
    """Threads that ran or wanted to on this machine in the minute before."""
    return round(os.getloadavg()[0], 2)
