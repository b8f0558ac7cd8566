"""The experiment's file: defaults that fit the pictures and the networks, each with its reason."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import timm
from jinja2 import Environment, StrictUndefined

from suite.config import RunSpec, Runtime
from suite.interface.errors import UserError
from suite.models import check_name
from suite.models.pretrained import weights_of
from suite.store.record import write_atomically
from suite.train.preflight import check
from sweeps.init.pictures import Pictures
from sweeps.plan.expand import expand
from sweeps.plan.manifest import stem

METHODS = ("scratch", "kd", "dkd", "dist", "fitnet", "crd", "dskd")
"""Labels alone, then one method or two of each kind: logits, features, relations, diffusion."""
NONE, PRETRAINED = "none", "pretrained"
STEPS = 3000
"""Optimizer steps of a student from random weights; a fine-tuned teacher takes a third."""
FEWEST_STEPS_PER_EPOCH = 10
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Wishes:
    """What the user asked for; None: a default that fits."""

    teacher: str
    student: str
    weights: str | None = None
    """``pretrained``, ``none`` or a file; None: timm's where it has some."""
    image_size: int | None = None
    epochs: int | None = None
    seeds: int = 3


@dataclass(frozen=True)
class Written:
    """An experiment that can be swept."""

    path: Path
    command: str
    runs: int
    left_out: Mapping[str, str]
    """Method -> why it cannot work on these networks."""


def write(name: str, wishes: Wishes, pictures: Pictures, runtime: Runtime) -> Written:
    """Write ``name.yaml`` and try it: every row that stays in it can be trained.

    Raises :class:`UserError` for unknown names and missing weights; never overwrites a file.
    """
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    stem(str(path))
    if path.exists():
        raise UserError(f"{path}: is there already; remove it or give another name")
    for network in (wishes.teacher, wishes.student):
        check_name(network)
    data_root = shlex.quote(str(pictures.folder.parent))
    command = f"dskd-bench sweep {shlex.quote(str(path))} --data-root {data_root}"
    values = {**_defaults(wishes, pictures), "command": command}
    left_out: dict[str, str] = {}
    try:
        _render(path, values, left_out)
        specs = expand(str(path), runtime=runtime).runs
        left_out = _left_out(specs, runtime)
        _render(path, values, left_out)
    except UserError:
        path.unlink(missing_ok=True)
        raise
    return Written(path, command, len(expand(str(path), runtime=runtime).runs), left_out)


def _left_out(specs: tuple[RunSpec, ...], runtime: Runtime) -> dict[str, str]:
    faults = check(specs, runtime).faults
    for spec, fault in faults.items():
        if spec.role == "teacher" or spec.label == METHODS[0]:
            raise fault  # a network itself cannot work
    reasons = {spec.label: str(fault) for spec, fault in faults.items()}
    if len(reasons) == len(METHODS) - 1:
        raise next(iter(faults.values()))
    return reasons


def _render(path: Path, values: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
    source = resources.files("sweeps.init") / "experiment.yaml.jinja"
    template = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).from_string(source.read_text())
    rows = [method for method in METHODS if method not in left_out]
    write_atomically(path, template.render(values, methods=rows, left_out=left_out).encode())


def _defaults(wishes: Wishes, pictures: Pictures) -> dict[str, Any]:
    size = wishes.image_size or _image_size(wishes, pictures)
    train = pictures.images["train"]
    batch = LARGEST_BATCH
    while batch > 8 and train // batch < FEWEST_STEPS_PER_EPOCH:
        batch //= 2
    epochs = wishes.epochs or min(100, max(10, round(STEPS * batch / train)))
    weights = wishes.weights or (PRETRAINED if weights_of(wishes.teacher) else NONE)
    tuned = weights != NONE
    return {
        "wishes": wishes,
        "pictures": pictures,
        "size": size,
        "batch": batch,
        "epochs": epochs,
        "warmup": epochs // 10,
        "checkpoint": str(Path(weights).resolve()) if weights not in (NONE, PRETRAINED) else None,
        "tuned": tuned,
        "teacher_epochs": max(1, epochs // 3) if tuned else epochs,
        "teacher_lr": "3.0e-4" if tuned else "1.0e-3",
        "options": {name: _options(name, size) for name in (wishes.teacher, wishes.student)},
    }


def _image_size(wishes: Wishes, pictures: Pictures) -> int:
    """What the teacher was made for, but no larger than the pictures are, in steps of 32 pixels."""
    made_for = timm.get_pretrained_cfg(wishes.teacher)
    side = 224 if made_for is None else int(made_for.input_size[-1])
    return min(side, max(32, pictures.side // 32 * 32))


def _options(network: str, size: int) -> str:
    """``img_size`` for a network of fixed input size that is made for another size."""
    made_for = timm.get_pretrained_cfg(network)
    if made_for is None or not made_for.fixed_input_size or made_for.input_size[-1] == size:
        return ""
    return f", options: {{img_size: {size}}}"
