"""What can be known of runs before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from suite import models
from suite.config import RunConfig, RunSpec, Runtime
from suite.data import Dataset, load
from suite.device import memory
from suite.interface.errors import UserError, shortened
from suite.store.record import RunDirectory
from suite.train.build import device_of
from suite.train.classes import fault_of_training_images
from suite.train.footprint import DryRun, Footprint, footprint

CPU = torch.device("cpu")
DECISIVE = {"data", "student", "teacher", "method", "optimizer", "train"}
NO_RUNS = Path()  # a teacher whose weights are a file needs no run store
LIBRARIES_BYTES = 450 * 10**6
"""Of a process on a CPU before its first tensor: memory of its own with all libraries loaded, as
measured on Linux with torch 2.15; the pages of the libraries' files are not in it."""


@dataclass(frozen=True)
class Findings:
    """What :func:`check` found."""

    faults: dict[RunSpec, UserError]
    """The runs that cannot work, with the reason."""
    notes: tuple[str, ...]
    """Lines on methods that keep much memory, and on runs of which that is not known."""
    footprints: Mapping[RunSpec, Footprint] = field(default_factory=dict)
    """What the runs need that can work, where small steps of them could be made."""


def needed(footprint: Footprint, runtime: Runtime, runs: int = 1) -> int:
    """Bytes at the peak of a process that trains so many runs like this one side by side.

    On a CPU with the libraries, without scratch memory of its kernels; on a GPU without its
    driver's and with the memory that recordings keep.
    """
    others = [footprint] * (runs - 1)
    if device_of(runtime).type == "cuda":
        return footprint.peak(*others, recorded=runtime.graphs)
    return footprint.peak(*others) + LIBRARIES_BYTES


@contextmanager
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing by a second thread, which waits in a loop on a core of others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def check(specs: Sequence[RunSpec], runtime: Runtime, room: int | None = None) -> Findings:
    """Find the runs whose models or method cannot work on their pair, or in ``room`` bytes.

    Builds every distinct combination of data, models and method once, on the CPU and with random
    weights, and makes a few steps of a few images with it. ``room`` is the memory of the device
    that will train, None when that is not known. Raises :class:`UserError` when the data cannot be
    loaded.
    """
    found: dict[str, _Found] = {}
    data: dict[str, Dataset] = {}
    teachers: dict[str, UserError | None] = {}
    faults, notes, footprints = {}, [], {}
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
            fault = _fault_of_sizes(config, data[place]) or teachers[weights]
            found[combination] = (
                _Found(fault) if fault else _look_at(config, data[place], runtime, room)
            )
            notes += [memory.note(config.method, len(data[place].train)), found[combination].note]
        fault, needs, _ = found[combination]
        if fault is not None:
            faults[spec] = fault
        elif needs is not None:
            footprints[spec] = needs
    return Findings(faults, tuple(dict.fromkeys(note for note in notes if note)), footprints)


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


class _Found(NamedTuple):
    """Of a combination."""

    fault: UserError | None = None
    needs: Footprint | None = None
    note: str | None = None


def _look_at(config: RunConfig, data: Dataset, runtime: Runtime, room: int | None) -> _Found:
    size, name = len(data.train), config.method.name
    try:
        if room is not None:
            memory.require(config.method, size, room)
        if memory.kept(config.method, size) > memory.of_device(CPU):
            return _Found()  # too large for this machine: its own job will see
        run = DryRun(config, data, runtime)
    except UserError as fault:
        return _Found(fault)
    except Exception as error:  # noqa: BLE001  (a run would meet the same; its record keeps it all)
        refused = UserError(f"method {name} cannot be built: {_in_one_line(error)}")
        refused.__cause__ = error
        return _Found(refused)
    try:
        needs = footprint(run, on_gpu=device_of(runtime).type == "cuda")
    except Exception as error:  # noqa: BLE001  (only the estimate is lost)
        return _Found(note=f"what {name} needs is not known: {_in_one_line(error)}")
    return _Found(_fault_of_memory(config, needs, runtime, room), needs)


def _fault_of_memory(
    config: RunConfig, needs: Footprint, runtime: Runtime, room: int | None
) -> UserError | None:
    """A run that the device cannot hold."""
    most = needed(needs, runtime)
    if room is None or most <= room:
        return None
    return UserError(
        f"method {config.method.name} with train.batch_size {config.train.batch_size}: needs "
        f"{memory.readable(most)} at its peak ({memory.readable(needs.step)} for a step, "
        f"{memory.readable(needs.looking)} for an evaluation), and the device has "
        f"{memory.readable(room)}"
    )


def _in_one_line(error: Exception) -> str:
    return shortened(" ".join(f"{type(error).__name__}: {error}".split()))
