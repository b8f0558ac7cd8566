"""What can be known of runs before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from suite import memory, models
from suite.build import build_distiller
from suite.config import RunConfig, RunSpec, Runtime
from suite.data import Dataset, load
from suite.errors import UserError
from suite.rng import generator, seeded_globals

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Findings:
    """What :func:`check` found."""

    faults: dict[RunSpec, UserError]
    """The runs that cannot work, with the reason."""
    notes: tuple[str, ...]
    """Lines on methods that keep much memory."""


def check(specs: Sequence[RunSpec], runtime: Runtime, room: int | None = None) -> Findings:
    """Find the runs whose models or method cannot work on their pair, or in ``room`` bytes.

    Builds every distinct combination of data, models and method once, on the CPU and with random
    weights, and trains nothing. ``room`` is the memory of the device that will train, None when
    that is not known. Raises :class:`UserError` when the data cannot be loaded.
    """
    found: dict[str, UserError | None] = {}
    data: dict[str, Dataset] = {}
    faults, notes = {}, []
    for spec in specs:
        config = spec.config
        combination = config.model_dump_json(include={"data", "student", "teacher", "method"})
        if combination not in found:
            place = config.data.model_dump_json()
            if place not in data:
                data[place] = load(config.data, runtime.data_root, cache=runtime.data_cache)
            found[combination] = _fault(config, data[place], room)
            notes.append(memory.note(config.method, len(data[place].train)))
        fault = found[combination]
        if fault is not None:
            faults[spec] = fault
    return Findings(faults, tuple(dict.fromkeys(note for note in notes if note)))


def _fault(config: RunConfig, data: Dataset, room: int | None) -> UserError | None:
    size = len(data.train)
    try:
        if room is not None:
            memory.require(config.method, size, room)
        if memory.kept(config.method, size) > memory.of_device(CPU):
            return None  # too large for this machine: its own job will see
        _build(config, data)
    except UserError as fault:
        return fault
    return None


def _build(config: RunConfig, data: Dataset) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])
    with seeded_globals(0, "check"):
        student = models.create(config.student, data.num_classes, data.image_shape)
        teacher = None
        if config.teacher is not None:
            teacher = models.create(config.teacher, data.num_classes, data.image_shape).eval()
    build_distiller(config, data, student, teacher, fabric, generator(0, "check"))
