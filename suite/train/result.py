"""The record of a finished run, ``result.json``, and the files that go with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from suite import data
from suite.config import ModelConfig, Normalisation, RunConfig, RunSpec, TeacherConfig
from suite.data import Dataset
from suite.device import determinism
from suite.interface.taps import TappedModel
from suite.models import count_macs, count_parameters, weights_sha256
from suite.store import checkpoint, predictions, select
from suite.store.provenance import provenance
from suite.store.record import now, write_atomically, write_json
from suite.train import features
from suite.train.optimization.optimizer import describe_groups
from suite.train.trainer import Trainer


def write_result(spec: RunSpec, trainer: Trainer, started: str, packed: int) -> None:
    """The record, last: its presence means that everything before it is on the disk.

    ``packed`` is the number of runs that trained side by side in the process.
    """
    directory, deployed = trainer.run, trainer.deployed
    student, distiller = trainer.step.student, trainer.step.distiller
    teacher = trainer.teacher
    weights = {name: tensor.cpu().contiguous() for name, tensor in deployed.state_dict().items()}
    write_atomically(directory.weights, safetensors_bytes(weights))
    stages = trainer.keep_stages
    features.save(directory, trainer.data, student, teacher, distiller, stages=stages)
    predictions.save(directory, spec.config.data, trainer.predictions)
    config, image_shape = spec.config, trainer.data.image_shape
    write_json(
        directory.result,
        {
            "run_id": spec.run_id,
            "experiment": spec.experiment,
            "role": spec.role,
            "label": spec.label,
            "recipe": spec.recipe,
            "method": config.method.name,
            "dataset": config.data.name,
            "data": _data_record(config, trainer),
            "student": config.student.name,
            "initial_weights_sha256": config.student.initial and config.student.initial.sha256,
            "seed": config.seed,
            "epochs": config.train.epochs,
            "teacher": _teacher_record(spec, trainer, teacher),
            **select.select(directory.read_metrics()),
            "train_seconds": trainer.position.train_seconds,
            "steps": config.train.epochs * _steps(trainer),
            "packed": packed,
            "ranks": trainer.fabric.world_size,
            "peak_memory_bytes": _peak_memory(trainer.fabric.device),
            "parameters": {
                "student": count_parameters(student),
                "teacher": _or_none(teacher, count_parameters),
                "train_extra": count_parameters(distiller),
                "deploy": count_parameters(deployed),
            },
            "optimizer_groups": describe_groups(trainer.updates.optimizer, trainer.step),
            "macs": {
                "student": count_macs(student.model, image_shape),
                "teacher": _or_none(teacher, lambda it: count_macs(it.model, image_shape)),
                "deploy": count_macs(deployed, image_shape),
            },
            "weights_sha256": weights_sha256(weights),
            "provenance": {
                **provenance(
                    trainer.fabric.device, config.method.name, data.modules(config.data.name)
                ),
                **determinism.record(
                    trainer.position.nondeterministic_ops, trainer.position.device_kinds
                ),
                "started": started,
                "finished": now(),
            },
        },
    )
    checkpoint.remove(directory)


def _steps(trainer: Trainer) -> int:
    """Optimizer steps of an epoch."""
    batch_size = trainer.config.train.batch_size
    return trainer.data.train.steps(batch_size, trainer.fabric.world_size)


def _data_record(config: RunConfig, trainer: Trainer) -> dict[str, Any]:
    """Which images, and what they were normalised with."""
    data, contents = trainer.data, config.data.contents
    return {
        "contents_sha256": None if contents is None else contents.sha256,
        "images": {"train": len(data.train), **{it: len(data.evals[it]) for it in data.evals}},
        "mean": data.mean,
        "std": data.std,
        "class_names": data.class_names,
        "normalisation": {
            "student": _normalisation(config.student, data),
            "teacher": config.teacher and _of_teacher(config.teacher, data),
        },
    }


def _of_teacher(teacher: TeacherConfig, data: Dataset) -> Any:
    """That of a network; of an ensemble a list."""
    each = [_normalisation(member, data) for member in teacher.members]
    return each if teacher.ensemble else each[0]


def _normalisation(network: ModelConfig, data: Dataset) -> dict[str, Any]:
    """What a network sees its images normalised with."""
    own = network.normalisation or Normalisation(mean=data.mean, std=data.std)
    return own.model_dump(mode="json")


def _teacher_record(
    spec: RunSpec, trainer: Trainer, teacher: TappedModel | None
) -> dict[str, Any] | None:
    config = spec.config
    if teacher is None or config.teacher is None:
        return None
    data = trainer.data.evals
    accuracy = {
        f"{split}/top1_percent": 100 * float((predicted == data[split].labels).double().mean())
        for split, predicted in trainer.teacher_predicted.items()
    }
    return {
        "name": config.teacher.name,
        "run_id": config.teacher.trained_by,
        "seed": spec.teacher_seed,
        "weights_sha256": weights_sha256(teacher.model.state_dict()),
        **accuracy,
    }


def _or_none(module: TappedModel | None, count: Callable[[Any], int]) -> int | None:
    return None if module is None else count(module)


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device on a GPU, else the largest resident size of the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
