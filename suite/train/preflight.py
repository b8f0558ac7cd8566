"""What can be known of runs before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from suite import models
from suite.config import RunConfig, RunSpec, Runtime
from suite.data import Dataset, load
from suite.device import memory
from suite.interface.errors import UserError, shortened
from suite.interface.rng import generator, seeded_globals
from suite.store.record import RunDirectory
from suite.train.build import build_distiller
from suite.train.classes import fault_of_training_images

CPU = torch.device("cpu")
DECISIVE = {"data", "student", "teacher", "method", "train"}
NO_RUNS = Path()  # a teacher whose weights are a file needs no run store
PASS_IMAGES = 8
"""A method that lets the teacher look at the training set sees so many images of it."""


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
    teachers: dict[str, UserError | None] = {}
    faults, notes = {}, []
    for spec in specs:
        config = spec.config
        combination = config.model_dump_json(include=DECISIVE)
        if combination not in found:
            place = config.data.model_dump_json()
            if place not in data:
                data[place] = load(config.data, runtime.data_root, cache=runtime.data_cache)
            weights = config.model_dump_json(include={"data", "teacher"})
            if weights not in teachers:
                teachers[weights] = _fault_of_weights(config, data[place])
            found[combination] = (
                _fault_of_sizes(config, data[place])
                or teachers[weights]
                or _fault(config, data[place], room)
            )
            notes.append(memory.note(config.method, len(data[place].train)))
        fault = found[combination]
        if fault is not None:
            faults[spec] = fault
    return Findings(faults, tuple(dict.fromkeys(note for note in notes if note)))


def require_teacher(spec: RunSpec, runtime: Runtime) -> None:
    """Raise :class:`UserError` unless the run that trains this run's teacher is finished."""
    for teacher in () if spec.config.teacher is None else spec.config.teacher.members:
        if teacher.run_id is None:
            continue
        directory = RunDirectory.of_teacher(runtime.runs_root, teacher.run_id)
        if not directory.finished():
            raise UserError(
                f"{spec.label}: its teacher {teacher.name} is not trained ({directory.result} is "
                f"not there); train it first: dskd-bench train {directory.config}, if that file is "
                f"there, or the whole experiment: dskd-bench sweep {spec.experiment}"
            )


def _fault_of_sizes(config: RunConfig, data: Dataset) -> UserError | None:
    """A batch or a choice of images that the data cannot fill."""
    images, wanted, batch = len(data.train), config.data.train_limit, config.train.batch_size
    if wanted is not None and wanted < data.num_classes:
        return UserError(
            f"data.train_limit {wanted}: fewer images than classes ({data.num_classes})"
        )
    if batch > images:
        return UserError(f"train.batch_size {batch}: the training set has {images} images")
    return fault_of_training_images(data)


def _fault_of_weights(config: RunConfig, data: Dataset) -> UserError | None:
    """Why a teacher from elsewhere cannot be loaded; one that a run trains is looked at later."""
    members = () if config.teacher is None else config.teacher.members
    try:
        for member in members:
            if member.run_id is None:
                models.load_teacher(member, data, NO_RUNS)
    except UserError as fault:
        return fault
    return None


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
    except Exception as error:  # noqa: BLE001  (a run would meet the same; its record keeps it all)
        reason = shortened(" ".join(f"{type(error).__name__}: {error}".split()))
        refused = UserError(f"method {config.method.name} cannot be built: {reason}")
        refused.__cause__ = error
        return refused
    return None


def _build(config: RunConfig, data: Dataset) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])
    with seeded_globals(0, "check"):
        student = models.create(config.student, data)
        teacher = None
        if config.teacher is not None:
            teacher = models.as_one([models.create(it, data) for it in config.teacher.members])
    stream = generator(0, "check")
    build_distiller(config, data, student, teacher, fabric, stream, pass_images=PASS_IMAGES)
