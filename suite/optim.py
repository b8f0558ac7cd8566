"""Optimizer and learning-rate schedule, both timm's."""

from __future__ import annotations

from typing import cast

from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from suite.config import OptimizerConfig, ScheduleConfig
from suite.errors import UserError, unknown


def make_optimizer(config: OptimizerConfig, module: nn.Module, batch_size: int) -> Optimizer:
    """An optimizer over all trainable parameters of ``module``; ``batch_size`` over all devices.

    Raises :class:`UserError`.
    """
    known = [str(name) for name in list_optimizers()]
    if config.name not in known:
        raise UserError(unknown("optimizer.name", config.name, known))
    optimizer: Optimizer = create_optimizer_v2(
        module,
        opt=config.name,
        lr=learning_rate(config, batch_size),
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        filter_bias_and_bn=not config.decay_norm_and_bias,
    )
    return optimizer


def learning_rate(config: OptimizerConfig, batch_size: int) -> float:
    """The rate before any schedule, see :attr:`OptimizerConfig.lr_batch_size`."""
    return config.lr * (batch_size / config.lr_batch_size if config.lr_batch_size else 1.0)


def make_schedule(config: ScheduleConfig, optimizer: Optimizer, epochs: int) -> Scheduler:
    """A stateless schedule: ``schedule.step(epoch - 1)`` sets the rate for ``epoch`` (from 1).

    Milestones name the last epoch before a drop (RepDistiller: ``epoch > 150`` with epochs from
    1); timm's milestone m acts from epoch m on (from 1), hence the one added here.
    """
    names = {"multistep": "multistep", "cosine": "cosine", "constant": "multistep"}
    milestones = config.milestones if config.name == "multistep" else ()
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=names[config.name],
        num_epochs=epochs,
        decay_milestones=[milestone + 1 for milestone in milestones],
        decay_rate=config.decay_rate,
        warmup_epochs=config.warmup_epochs,
        warmup_lr=config.warmup_lr,
        min_lr=config.min_lr,
    )
    return cast(Scheduler, schedule)
