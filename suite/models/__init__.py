"""Student and teacher by timm name; a teacher's weights are checked before they are trusted."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import suite.models.libraries as libraries  # before others import timm
import suite.models.pretrained as pretrained_weights
import suite.models.zoo  # noqa: F401  (registers the CIFAR networks in timm)
from suite.config import ModelConfig, Normalisation, StudentConfig, TeacherConfig
from suite.interface.ensemble import Ensemble
from suite.interface.errors import UserError, brief, unknown
from suite.interface.taps import TappedModel, UnsupportedModel
from suite.models import normalisation
from suite.models.weights import check_hash, load_foreign, load_initial
from suite.models.weights import weights_sha256 as weights_sha256
from suite.store.record import RunDirectory


class TeacherError(UserError):
    """The weights of a run, a teacher's mostly, are missing, damaged or not those of its record."""


class Task(Protocol):
    """The classification problem of a network; a :class:`suite.data.Dataset` is one."""

    @property
    def num_classes(self) -> int:
        """Labels are 0 to ``num_classes - 1``."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, H, W."""
        ...

    @property
    def mean(self) -> tuple[float, ...]:
        """Subtracted from pixel values in 0..1, one number per channel."""
        ...

    @property
    def std(self) -> tuple[float, ...]:
        """Pixel values are then divided by it, one number per channel."""
        ...


@dataclass(frozen=True)
class BareTask:
    """A :class:`Task` without images."""

    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def create(config: ModelConfig, task: Task) -> TappedModel:
    """A network to be trained: with timm's random weights, or with initial weights.

    Raises :class:`UserError` for an unknown name, wrong options, images it cannot take, or weights
    that are missing, others than planned or of another network.
    """
    initial = config.initial if isinstance(config, StudentConfig) else None
    pretrained = initial is not None and initial.checkpoint is None
    network = _build(config, task, pretrained=pretrained)
    if initial is None:
        return network
    if initial.checkpoint is None:
        check_hash(pretrained_weights.pretrained_sha256(config.name), initial.sha256, config.name)
    else:
        load_initial(network.model, initial.checkpoint, initial.sha256)
    return network


def load_teacher(config: TeacherConfig, task: Task, runs_root: Path) -> TappedModel:
    """The frozen teacher in evaluation mode. Raises :class:`TeacherError`."""
    return as_one([_load_member(member, task, runs_root) for member in config.members])


def as_one(members: Sequence[TappedModel]) -> TappedModel:
    """The only network, or the ensemble of several, in evaluation mode."""
    return (members[0] if len(members) == 1 else Ensemble(members)).eval()


def _load_member(config: TeacherConfig, task: Task, runs_root: Path) -> TappedModel:
    if config.pretrained and config.gives_logits:
        pretrained_weights.check_classes(config.name, task.num_classes)
    teacher = _build(config, task, pretrained=config.pretrained)
    if config.run_id is not None:
        run = RunDirectory.of_teacher(runs_root, config.run_id)
        weights = weights_of_run(run, f"teacher run {run.path}")
        load_weights(teacher.model, weights, f"teacher run {config.run_id}")
    elif config.checkpoint is not None:
        load_foreign(teacher.model, config.checkpoint)
    return teacher.requires_grad_(False)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters (buffers not counted)."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of one image through convolutions and matrix products."""
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, *image_shape, device=device))
    module.train(training)
    return int(counter.get_total_flops()) // 2


def check_name(name: str) -> None:
    """Raise :class:`UserError` unless timm knows the model."""
    if not libraries.timm.is_model(name.split(".")[0]):
        raise UserError(
            unknown("model", name, libraries.timm.list_models()).split("; known:")[0] + _HINT
        )
    network, _, tag = name.partition(".")
    known = [each.partition(".")[2] for each in libraries.timm.list_pretrained(f"{network}.*")]
    if tag and tag not in known:
        raise UserError(unknown(f"weights of {network}, tag", tag, known))


def names(pattern: str) -> list[str]:
    """Names of timm's and this suite's networks that match a shell pattern."""
    matching: list[str] = libraries.timm.list_models(pattern)
    if not matching:
        raise UserError(f"no model matches {brief(pattern)}; try 'cifar_*' or 'resnet*'")
    return matching


def describe(name: str, num_classes: int) -> tuple[str, str, str, str]:
    """Name, input size, parameters and multiply-adds at the network's own input size, as text."""
    with torch.device("meta"):
        model: Any = libraries.timm.create_model(name, num_classes=num_classes)
    shape = model.pretrained_cfg["input_size"]
    macs = count_macs(model, shape)
    return name, "x".join(map(str, shape)), f"{count_parameters(model):,}", f"{macs:,}"


_HINT = "; `dskd-bench models '*PATTERN*'` lists what timm and this suite offer"


def _build(config: ModelConfig, task: Task, *, pretrained: bool) -> TappedModel:
    check_name(config.name)
    image_shape = task.image_shape
    feature_only = isinstance(config, TeacherConfig) and not config.gives_logits
    if "num_classes" in config.options and not feature_only:
        raise UserError(
            f"model {config.name}: options.num_classes is that of the data; leave it out (given: "
            f"{brief(config.options['num_classes'])}; 0 is for a teacher with pretrained: true or "
            "checkpoint: FILE that is to give features alone)"
        )
    options = {"num_classes": task.num_classes, "in_chans": image_shape[0], **config.options}
    if pretrained:
        options |= pretrained_weights.options_for(config.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = libraries.timm.create_model(config.name, pretrained=pretrained, **options)
            if config.normalisation is not None:
                of_data = Normalisation(mean=task.mean, std=task.std)
                normalisation.apply(model, config.normalisation, of_data)
            return TappedModel(model, image_shape)
    except UnsupportedModel as error:
        raise UnsupportedModel(f"model {brief(config.name)}: {error}") from None
    except (TypeError, ValueError, RuntimeError, AssertionError, OSError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model {brief(config.name)} with options {brief(config.options)} does not take images "
            f"of {'x'.join(map(str, image_shape))}: {reason} "
            "(networks of fixed input size need options: {img_size: SIDE})"
        ) from None


def weights_of_run(run: RunDirectory, where: str) -> dict[str, Tensor]:
    """The deployed network's weights, compared with the record; errors begin with ``where``."""
    result = run.read_result()
    if result is None:
        raise TeacherError(f"{where}: not finished (no result.json); train it first")
    if not isinstance(result.get("weights_sha256"), str):
        raise TeacherError(f"{run.result} is damaged: no weights_sha256; sweep again to mend it")
    try:
        weights = load_file(run.weights)
    except (SafetensorError, OSError) as error:
        raise TeacherError(f"{where}: weights.safetensors: {error}") from None
    actual, expected = weights_sha256(weights), result["weights_sha256"]
    if actual != expected:
        raise TeacherError(
            f"{where}: weights.safetensors has sha256 {actual[:16]}..., "
            f"result.json says {expected[:16]}...; delete the run's folder to train it anew"
        )
    return weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load all weights of a network; an error begins with ``where``."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise TeacherError(f"{where}: the weights do not fit: {reason[:300]}") from None
