"""Optimizer and learning-rate schedule, both timm's."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any, cast

import torch
from timm.optim import (
    create_optimizer_v2,
    get_optimizer_class,
    list_optimizers,
    param_groups_weight_decay,
)
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from suite.config import DOT_NAME, OptimizerConfig, ScheduleConfig
from suite.interface.errors import UserError, unknown
from suite.train.optimization.dot import DOT


def make_optimizer(config: OptimizerConfig, module: nn.Module, *, fused: bool = False) -> Optimizer:
    """An optimizer over all trainable parameters of ``module``. Raises :class:`UserError`.

    ``fused`` takes all parameters in one kernel where the optimizer can.
    """
    if config.delta is not None:
        return _dot(config, config.delta, module)
    known = [*map(str, list_optimizers()), DOT_NAME]
    if config.name not in known:
        raise UserError(unknown("optimizer.name", config.name, known))
    extra: dict[str, Any] = {"fused": True} if fused and _takes(config.name, "fused") else {}
    if config.eps is not None:
        if not _takes(config.name, "eps"):
            raise UserError(f"optimizer.eps {config.eps}: {config.name!r} takes none; leave it out")
        extra["eps"] = config.eps
    optimizer: Optimizer = create_optimizer_v2(
        module,
        opt=config.name,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        filter_bias_and_bn=not config.decay_norm_and_bias,
        **extra,
    )
    return optimizer


def _dot(config: OptimizerConfig, delta: float, module: nn.Module) -> DOT:
    trained = [it for it in module.parameters() if it.requires_grad]
    groups = [{"params": trained, "weight_decay": config.weight_decay}]
    if not config.decay_norm_and_bias:
        groups = param_groups_weight_decay(module, config.weight_decay)
    return DOT(groups, lr=config.lr, momentum=config.momentum, delta=delta)


def describe_groups(optimizer: Optimizer, module: nn.Module) -> list[dict[str, Any]]:
    """What is trained: of each group its weight decay and how many parameters of which part.

    A part is the first two names of a parameter in ``module``: ``student.model``,
    ``distiller.regressor``.
    """
    part = {it: ".".join(name.split(".")[:2]) for name, it in module.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        if any(it not in part for it in group["params"]):
            continue  # DOT's twins
        counts: Counter[str] = Counter()
        for parameter in group["params"]:
            counts[part[parameter]] += parameter.numel()
        groups.append({"weight_decay": group["weight_decay"], "parameters": dict(counts)})
    return groups


def match_layouts(optimizer: Optimizer) -> None:
    """Lay the optimizer's state out in memory as its parameters are.

    Fused kernels take both element by element as they lie in memory; a checkpoint written with
    the other memory format would have them mix up the elements.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _takes(name: str, option: str) -> bool:
    return option in inspect.signature(get_optimizer_class(name, bind_defaults=False)).parameters


def make_schedule(config: ScheduleConfig, optimizer: Optimizer, epochs: int) -> Scheduler:
    """A stateless schedule: ``schedule.step(epoch - 1)`` sets the rate for ``epoch`` (from 1).

    Milestones name the last epoch before a drop (RepDistiller: ``epoch > 150`` with epochs from
    1); timm's milestone m acts from epoch m on (from 1), hence the one added here.
    """
    names = {"multistep": "multistep", "step": "step", "cosine": "cosine", "constant": "multistep"}
    milestones = config.milestones if config.name == "multistep" else ()
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=names[config.name],
        num_epochs=epochs,
        decay_epochs=config.decay_epochs,
        warmup_prefix=config.name == "step",  # as DIST's code counts; timm's own includes warm-up
        decay_milestones=[milestone + 1 for milestone in milestones],
        decay_rate=config.decay_rate,
        warmup_epochs=config.warmup_epochs,
        warmup_lr=config.warmup_lr,
        min_lr=config.min_lr,
    )
    return cast(Scheduler, schedule)
