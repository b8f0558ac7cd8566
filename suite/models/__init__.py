"""Student and teacher by timm name; a teacher's weights are checked before they are trusted."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import suite.models.pretrained as pretrained_weights
import suite.models.zoo  # noqa: F401  (registers the CIFAR networks in timm)
from suite.config import ModelConfig, TeacherConfig
from suite.interface.errors import UserError, brief, unknown
from suite.interface.taps import TappedModel, UnsupportedModel
from suite.models.weights import load_foreign
from suite.store.record import RunDirectory


class TeacherError(UserError):
    """The teacher's weights are missing, damaged or not those of the named run."""


def create(config: ModelConfig, num_classes: int, image_shape: tuple[int, int, int]) -> TappedModel:
    """A fresh network for images of ``image_shape`` (channels, H, W), initialised by timm.

    Raises :class:`UserError` for an unknown name, wrong options, or images it cannot take.
    """
    return _build(config, num_classes, image_shape, pretrained=False)


def load_teacher(
    config: TeacherConfig, num_classes: int, image_shape: tuple[int, int, int], runs_root: Path
) -> TappedModel:
    """The frozen teacher in evaluation mode. Raises :class:`TeacherError`."""
    teacher = _build(config, num_classes, image_shape, pretrained=config.pretrained)
    if config.run_id is not None:
        weights = _weights_of_run(RunDirectory.of_teacher(runs_root, config.run_id))
        _load(teacher.model, weights, f"teacher run {config.run_id}")
    elif config.checkpoint is not None:
        load_foreign(teacher.model, config.checkpoint)
    return teacher.eval().requires_grad_(False)


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all tensors, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
    if not timm.is_model(name.split(".")[0]):
        raise UserError(unknown("model", name, timm.list_models()).split("; known:")[0] + _HINT)
    network, _, tag = name.partition(".")
    known = [each.partition(".")[2] for each in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in known:
        raise UserError(unknown(f"weights of {network}, tag", tag, known))


def names(pattern: str) -> list[str]:
    """Names of timm's and this suite's networks that match a shell pattern."""
    found: list[str] = timm.list_models(pattern)
    if not found:
        raise UserError(f"no model matches {brief(pattern)}; try 'cifar_*' or 'resnet*'")
    return found


def describe(name: str, num_classes: int) -> tuple[str, str, str, str]:
    """Name, input size, parameters and multiply-adds at the network's own input size, as text."""
    with torch.device("meta"):
        model: Any = timm.create_model(name, num_classes=num_classes)
    shape = model.pretrained_cfg["input_size"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape, device="meta"))
    macs = int(counter.get_total_flops()) // 2
    return name, "x".join(map(str, shape)), f"{count_parameters(model):,}", f"{macs:,}"


_HINT = "; `dskd-bench models '*PATTERN*'` lists what timm and this suite offer"


def _build(
    config: ModelConfig, num_classes: int, image_shape: tuple[int, int, int], *, pretrained: bool
) -> TappedModel:
    check_name(config.name)
    if "num_classes" in config.options:
        raise UserError(
            f"model {config.name}: options.num_classes is that of the data; leave it out"
        )
    options = {"num_classes": num_classes, "in_chans": image_shape[0], **config.options}
    if pretrained:
        options |= pretrained_weights.options_for(config.name, num_classes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TappedModel(
                timm.create_model(config.name, pretrained=pretrained, **options), image_shape
            )
    except UnsupportedModel as error:
        raise UnsupportedModel(f"model {brief(config.name)}: {error}") from None
    except (TypeError, ValueError, RuntimeError, AssertionError, OSError, IndexError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model {brief(config.name)} with options {brief(config.options)} does not take images "
            f"of {'x'.join(map(str, image_shape))}: {reason} "
            "(networks of fixed input size need options: {img_size: SIDE})"
        ) from None


def _weights_of_run(run: RunDirectory) -> dict[str, Tensor]:
    result = run.read_result()
    if result is None:
        raise TeacherError(f"teacher run {run.path}: not finished (no result.json); train it first")
    if not isinstance(result.get("weights_sha256"), str):
        raise TeacherError(f"{run.result} is damaged: no weights_sha256; sweep again to mend it")
    try:
        weights = load_file(run.weights)
    except (SafetensorError, OSError) as error:
        raise TeacherError(f"teacher run {run.path}: weights.safetensors: {error}") from None
    found, expected = weights_sha256(weights), result["weights_sha256"]
    if found != expected:
        raise TeacherError(
            f"teacher run {run.path}: weights.safetensors has sha256 {found[:16]}..., "
            f"result.json says {expected[:16]}...; delete the run's folder to train it anew"
        )
    return weights


def _load(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise TeacherError(f"{where}: the weights do not fit: {reason[:300]}") from None
