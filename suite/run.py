"""One run from config to result.json, top to bottom in the order of the flow."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from suite import checkpoint, choices, distributed, features, methods, models, select
from suite.config import RunConfig, RunSpec, Runtime
from suite.data import Dataset, load
from suite.distiller import Batch, Distiller, Setup
from suite.engine import Interrupted, Step, Trainer
from suite.errors import UserError
from suite.evaluate import evaluate
from suite.models import count_macs, count_parameters, weights_sha256
from suite.provenance import provenance
from suite.record import RunDirectory, now, write_atomically, write_json
from suite.rng import Draws, derive_seed, generator, seeded_globals
from suite.taps import Outputs, TappedModel

__all__ = ["Interrupted", "check", "run"]
log = logging.getLogger(__name__)


def run(spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Train ``spec`` to its end and leave ``result.json``; a finished run is left alone.

    Raises :class:`Interrupted` after a checkpoint once ``should_stop()`` is true, and
    :class:`suite.errors.UserError` for what the user can mend.
    """
    directory = RunDirectory.of(runtime.runs_root, spec.experiment, spec.run_id)
    if directory.finished():
        return
    directory.start(spec.model_dump(mode="json"))
    started = now()
    with _logging_to(directory):
        log.info("run %s: %s, seed %d", spec.run_id, spec.label, spec.config.seed)
        fabric = _fabric(spec.config, runtime)
        trainer = _assemble(spec.config, runtime, fabric, directory)
        trainer.fit(should_stop, runtime.checkpoint_seconds)
        if spec.role == "teacher" and not trainer.choices:  # resumed after the last epoch
            trainer.evaluate()
        if fabric.is_global_zero:
            _write_result(spec, trainer, started)
        fabric.barrier()


def _fabric(config: RunConfig, runtime: Runtime) -> Fabric:
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    torch.use_deterministic_algorithms(runtime.deterministic, warn_only=True)
    if config.train.precision == "16-mixed" and not _uses_cuda(runtime):
        raise UserError("train.precision '16-mixed' needs a GPU; on a CPU: 32-true, bf16-mixed")
    return distributed.make_fabric(runtime, config.train.precision)


def _uses_cuda(runtime: Runtime) -> bool:
    return runtime.accelerator != "cpu" and torch.cuda.is_available()


def _assemble(
    config: RunConfig, runtime: Runtime, fabric: Fabric, directory: RunDirectory
) -> Trainer:
    """Data, models, method and trainer, each from its own random stream."""
    data = _on_device(load(config.data, runtime.data_root, runtime.workers), fabric.device)
    teacher = None
    if config.teacher is not None:
        teacher = models.load_teacher(
            config.teacher, data.num_classes, data.image_shape, runtime.runs_root
        ).to(fabric.device)
    with seeded_globals(config.seed, "init"):
        student = models.create(config.student, data.num_classes, data.image_shape)
    if config.train.channels_last:
        student = student.to(memory_format=torch.channels_last)
    stream = generator(config.seed, "method", device=fabric.device)
    distiller = build_distiller(config, data, student.to(fabric.device), teacher, fabric, stream)
    rank = [fabric.global_rank] if fabric.global_rank else []
    torch.manual_seed(derive_seed(config.seed, "layers", *rank))  # dropout and stochastic depth
    step = Step(student, distiller, teacher)
    known = _teacher_choices(config, runtime, fabric, data, teacher)
    return Trainer(fabric, config, data, step, directory, stream, known)


def _teacher_choices(
    config: RunConfig, runtime: Runtime, fabric: Fabric, data: Dataset, teacher: TappedModel | None
) -> choices.Choices:
    """The teacher's predicted classes on every split, from its own run where that kept them."""
    if config.teacher is None or teacher is None:
        return {}
    kept: choices.Choices = {}
    if config.teacher.run_id is not None:
        run = RunDirectory.of_teacher(runtime.runs_root, config.teacher.run_id)
        kept = choices.load(run, config.data)
    return {
        split: kept[split].to(fabric.device)
        if split in kept and len(kept[split]) == len(images)
        else evaluate(fabric, teacher.model, images).choice
        for split, images in data.evals.items()
    }


def build_distiller(
    config: RunConfig,
    data: Dataset,
    student: TappedModel,
    teacher: TappedModel | None,
    fabric: Fabric,
    stream: torch.Generator,
) -> Distiller:
    """The method, on the device. Raises :class:`suite.distiller.UnsupportedPair`."""
    method = methods.find(config.method.name)
    batch_size = config.train.batch_size

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        if teacher is None:
            return
        for batch in data.train.epoch(config.seed, 1, batch_size):
            with torch.no_grad(), fabric.autocast():
                outputs = teacher(batch.image, taps)
            yield batch, outputs.float()

    setup = Setup(
        student=student,
        teacher=teacher,
        num_classes=data.num_classes,
        train_labels=data.train_labels.to(fabric.device),
        epochs=config.train.epochs,
        steps_per_epoch=data.train.steps(batch_size, fabric.world_size),
        device=fabric.device,
        draws=Draws(stream, fabric.global_rank, fabric.world_size),
        gather=partial(distributed.gather, fabric),
        teacher_pass=teacher_pass,
    )
    with seeded_globals(config.seed, "method_init"):
        distiller = method(method.Config.model_validate(config.method.options), setup)
    student.check(distiller.student_taps())
    if teacher is not None:
        teacher.check(distiller.teacher_taps())
    return distiller.to(fabric.device)


def _on_device(data: Dataset, device: torch.device) -> Dataset:
    evals = {split: images.to(device) for split, images in data.evals.items()}
    return Dataset(
        name=data.name,
        num_classes=data.num_classes,
        image_shape=data.image_shape,
        train_labels=data.train_labels,
        train=data.train.to(device),
        evals=evals,
    )


def _write_result(spec: RunSpec, trainer: Trainer, started: str) -> None:
    """The record, last: its presence means that everything before it is on the disk."""
    directory, deployed = trainer.run, trainer.deployed
    student, distiller = trainer.step.student, trainer.step.distiller
    (teacher,) = trainer.step._teacher
    weights = {name: tensor.cpu().contiguous() for name, tensor in deployed.state_dict().items()}
    write_atomically(directory.weights, safetensors_bytes(weights))
    features.save(directory, trainer.data, student, teacher, distiller)
    if spec.role == "teacher":
        choices.save(directory, spec.config.data, trainer.choices)
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
            "student": config.student.name,
            "seed": config.seed,
            "epochs": config.train.epochs,
            "teacher": _teacher_record(config, trainer, teacher),
            **select.select(directory.read_metrics()),
            "train_seconds": trainer.position.train_seconds,
            "steps": config.train.epochs * trainer.steps_per_epoch(),
            "peak_memory_bytes": _peak_memory(trainer.fabric.device),
            "parameters": {
                "student": count_parameters(student),
                "teacher": _or_none(teacher, count_parameters),
                "train_extra": count_parameters(distiller),
                "deploy": count_parameters(deployed),
            },
            "macs": {
                "student": count_macs(student.model, image_shape),
                "teacher": _or_none(teacher, lambda it: count_macs(it.model, image_shape)),
                "deploy": count_macs(deployed, image_shape),
            },
            "weights_sha256": weights_sha256(weights),
            "provenance": {
                **provenance(trainer.fabric.device),
                "ranks": trainer.fabric.world_size,
                "started": started,
                "finished": now(),
            },
        },
    )
    checkpoint.remove(directory)


def _teacher_record(
    config: RunConfig, trainer: Trainer, teacher: TappedModel | None
) -> dict[str, Any] | None:
    if teacher is None or config.teacher is None:
        return None
    accuracy = {
        f"{split}/top1_percent": 100 * float((choice == _labels(trainer, split)).double().mean())
        for split, choice in trainer.teacher_choices.items()
    }
    return {
        "name": config.teacher.name,
        "run_id": config.teacher.run_id,
        "weights_sha256": weights_sha256(teacher.model.state_dict()),
        **accuracy,
    }


def _labels(trainer: Trainer, split: str) -> Tensor:
    return torch.cat([batch.label for batch in trainer.data.evals[split].batches(1000)])


def _or_none(module: TappedModel | None, count: Callable[[Any], int]) -> int | None:
    return None if module is None else count(module)


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device on a GPU, else the largest resident size of the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _logging_to(directory: RunDirectory) -> Iterator[None]:
    """Send the log of this run to its own ``log.txt``; an exception's traceback goes there too."""
    handler = logging.FileHandler(directory.log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        log.info("on %s, torch %s", platform.node(), torch.__version__)
        yield
    except Interrupted as stop:
        log.info("%s", stop)
        raise
    except Exception:
        log.exception("failed")
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def check(specs: Sequence[RunSpec], runtime: Runtime) -> dict[RunSpec, UserError]:
    """The runs whose models or method cannot work on their pair, with the reason, untrained.

    Builds every distinct combination of data, models and method once, on the CPU and with random
    weights, and trains nothing. Raises :class:`UserError` when the data cannot be loaded.
    """
    found: dict[str, UserError | None] = {}
    data: dict[str, Dataset] = {}
    faults = {}
    for spec in specs:
        config = spec.config
        combination = config.model_dump_json(include={"data", "student", "teacher", "method"})
        if combination not in found:
            place = config.data.model_dump_json()
            if place not in data:
                data[place] = load(config.data, runtime.data_root)
            found[combination] = _fault(config, data[place])
        fault = found[combination]
        if fault is not None:
            faults[spec] = fault
    return faults


def _fault(config: RunConfig, data: Dataset) -> UserError | None:
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[LightningEnvironment()])
    try:
        with seeded_globals(0, "check"):
            student = models.create(config.student, data.num_classes, data.image_shape)
            teacher = None
            if config.teacher is not None:
                teacher = models.create(config.teacher, data.num_classes, data.image_shape).eval()
        build_distiller(config, data, student, teacher, fabric, generator(0, "check"))
    except UserError as fault:
        return fault
    return None
