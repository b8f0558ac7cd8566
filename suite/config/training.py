"""The optimizer, its schedule and the loop."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from suite.config_base import Grown

DOT_NAME = "dot"


class OptimizerConfig(Grown):
    """timm's optimizer by name. In timm ``momentum`` is plain SGD, ``sgd`` is Nesterov's."""

    younger: ClassVar[tuple[str, ...]] = ("delta", "eps")
    name: str = "momentum"
    """timm's name: ``momentum`` is plain SGD, ``sgd`` is Nesterov's, ``adamw`` ...; or ``dot``, SGD
    whose momentum is ``momentum`` - ``delta`` for the labels' loss, ``momentum`` + ``delta`` for
    distillation (Zhao et al. 2023, ICCV)."""
    lr: float = Field(gt=0)
    """Learning rate at the start, after warm-up."""
    lr_batch_size: int | None = Field(None, ge=1)
    """The batch size that ``lr`` is for: it is scaled in proportion to ``train.batch_size`` (the
    linear rule of Goyal et al. 2017, Sec. 2.1). None: ``lr`` as it is. The number of devices never
    changes it, since the batch size counts the images of all devices."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Of optimizers that have one."""
    weight_decay: float = Field(0.0, ge=0)
    """As timm's optimizer applies it."""
    decay_norm_and_bias: bool = True
    """False: no weight decay on biases and normalisation layers."""
    clip_grad_norm: float | None = Field(None, gt=0)
    """Largest norm of the gradient of a step (``dot``: of both gradients as one vector); None: not
    clipped."""
    delta: float | None = Field(None, ge=0, lt=1)
    """Of ``dot``, which needs it: 0.075 for CIFAR-100, 0.09 for ImageNet in mdistiller. Runs with
    other optimizers have no such field."""
    eps: float | None = Field(None, gt=0)
    """What keeps adaptive optimizers (``adamw``, ``lamb``, ``rmsproptf`` ...) from dividing by 0;
    None: timm's default. Runs without it have no such field."""

    @model_validator(mode="after")
    def _delta_of_dot(self) -> Self:
        if (self.name == DOT_NAME) != (self.delta is not None):
            raise ValueError(
                f"delta {self.delta}: a number goes with name 'dot', and only with it "
                f"(given: name {self.name!r})"
            )
        if self.delta is not None and (
            self.delta > self.momentum or self.delta >= 1 - self.momentum
        ):
            raise ValueError(
                f"delta {self.delta}: must not exceed momentum {self.momentum}, and their sum must "
                "be below 1"
            )
        return self

    def at(self, batch_size: int) -> OptimizerConfig:
        """The same with the learning rate for so many images a step, over all devices."""
        scale = 1.0 if self.lr_batch_size is None else batch_size / self.lr_batch_size
        return self.model_copy(update={"lr": scale * self.lr, "lr_batch_size": None})


class ScheduleConfig(Grown):
    """Learning rate over epochs."""

    younger: ClassVar[tuple[str, ...]] = ("decay_epochs",)
    name: Literal["multistep", "step", "cosine", "constant"] = "cosine"
    """Its shape after warm-up."""
    milestones: tuple[int, ...] = ()
    """``multistep``: the last epoch (from 1) before each drop, as RepDistiller counts."""
    decay_rate: float = Field(0.1, gt=0, le=1)
    """``multistep``: the rate is multiplied by it at each milestone; ``step``: after every
    ``decay_epochs``."""
    decay_epochs: float | None = Field(None, gt=0)
    """Of ``step``, which needs it: epochs between drops, counted from the end of warm-up; an epoch
    has the rate of its first step. Runs with other schedules have no such field."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs in which the rate rises to its start."""
    warmup_lr: float = Field(1e-5, ge=0)
    """Where that rise begins."""
    min_lr: float = Field(0.0, ge=0)
    """``cosine``: where it ends."""

    @model_validator(mode="after")
    def _decay_epochs_of_step(self) -> Self:
        if (self.name == "step") != (self.decay_epochs is not None):
            raise ValueError(
                f"decay_epochs {self.decay_epochs}: a number goes with name 'step', and only with "
                f"it (given: name {self.name!r})"
            )
        return self


Precision = Literal["32-true", "tf32", "bf16-mixed", "16-mixed"]


class TrainConfig(Grown):
    """The loop."""

    younger: ClassVar[tuple[str, ...]] = ("ema_decay", "accumulate")
    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(64, ge=2)
    """Images per optimizer step over all devices."""
    eval_every: int = Field(1, ge=1)
    """Evaluate after every so many epochs; the last epoch always."""
    precision: Precision = "32-true"
    """``32-true`` is float32 on GPUs, too; ``tf32`` lets their tensor cores round the factors of
    products to 10 bits, as torch's default does in convolutions. ``bf16-mixed`` and ``16-mixed``
    compute the networks in half precision, on CPUs too; methods get float32 outputs and compute in
    it. ``16-mixed`` scales the loss, each run by itself, and leaves out steps that overflow."""
    channels_last: bool = False
    """Always; without it, where it pays (see ``Runtime.fast``)."""
    batch_norm: Literal["global", "local"] = "global"
    """With several devices: statistics over the images of all, so that their number changes no
    result, or of each device apart, which saves communication and depends on their number."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Of the moving average of the weights that is evaluated and shipped in their place; None: no
    average. Runs without it have no such field."""
    accumulate: int = Field(1, ge=1)
    """A step's gradient is the mean over so many micro-batches of ``batch_size`` / ``accumulate``
    images (of all devices), for batches that the memory does not hold. Images, order and random
    streams are those of the whole batch, which mixup and CutMix mix before it is parted; clipping,
    loss scale, average of weights and schedule act once a step. Batch normalisation takes its
    statistics over each micro-batch and moves its running ones with each; methods that compare the
    images of a batch (``rkd``, ``dist``) or keep banks (``crd``) see one micro-batch after the
    other. Without either, steps are those of the whole batch but for rounding. Logged losses are
    means over micro-batches. An epoch's smaller last batch has fewer parts, weighted by their
    images. Runs without it have no such field."""

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        parts = self.accumulate
        if self.batch_size % parts or self.batch_size < 2 * parts:
            raise ValueError(
                f"accumulate {parts}: must divide batch_size {self.batch_size} and leave at least "
                "2 images for each part"
            )
        return self
