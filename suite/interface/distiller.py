"""The one interface between the harness and a distillation method.

A method is one file in ``baselines/`` with one :class:`Distiller` in it. The harness owns
everything that methods share (``no_grad`` and evaluation mode of the teacher, precision, the
sum of the terms, the optimizer, logging, checkpoints); the method says which inner activations
it reads and which loss terms follow from them.

Shapes: B batch, K classes, C channels, H and W height and width, D width of the pooled feature,
N training images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from suite.interface.errors import UserError
from suite.interface.paper import Paper
from suite.interface.rng import Draws
from suite.interface.taps import Outputs, TappedModel


class UnsupportedPair(UserError):
    """This method cannot run on this teacher-student pair; the message says why in one line."""


@dataclass(frozen=True)
class Batch:
    """One batch as every method sees it."""

    image: Tensor
    """[B, channels, H, W] float, normalised per channel."""
    label: Tensor
    """[B] int64, 0..K-1."""
    index: Tensor
    """[B] int64, position in the training set, 0..N-1."""
    views: Mapping[str, Tensor] = field(default_factory=dict)
    """Further views of the same images, by the names of ``Distiller.views``: each as ``image``."""
    target: Tensor | None = None
    """[B, K] float, rows sum to 1: the classes of mixed images (mixup, CutMix) and smoothed labels.
    ``label`` and ``index`` are then those of the image with the largest share. None: no recipe asks
    for it, ``label`` says all."""

    @property
    def truth(self) -> Tensor:
        """What ``functional.cross_entropy`` takes: ``target`` if there is one, else ``label``."""
        return self.label if self.target is None else self.target

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Progress:
    """Where training stands, for warm-ups and schedules."""

    epoch: int
    """Counted from 1, as in the papers."""
    epochs: int
    """Of the whole run."""
    step: int
    """Optimizer steps done before this one, over the whole run."""
    steps_per_epoch: int
    """Optimizer steps in one epoch."""

    def warmup(self, epochs: int) -> float:
        """Linear warm-up factor.

        Args:
            epochs: Length of the warm-up; 0 for none.

        Returns:
            min(epoch / epochs, 1); 1 without a warm-up.
        """
        return min(self.epoch / epochs, 1.0) if epochs > 0 else 1.0


@dataclass(frozen=True)
class Setup:
    """What a method may look at when it is built."""

    student: TappedModel
    """To look at (``shapes``, ``head``); build nothing into it."""
    teacher: TappedModel | None
    """Frozen, in evaluation mode; None when ``uses_teacher`` is False."""
    num_classes: int
    """K."""
    train_labels: Tensor
    """[N] int64, on the device."""
    epochs: int
    """Of the whole run."""
    steps_per_epoch: int
    """Optimizer steps in one epoch."""
    device: torch.device
    """Where the run trains."""
    draws: Draws
    """The method's own random stream, saved in checkpoints."""
    gather: Callable[[Tensor], Tensor]
    """[B, ...] of this rank -> [w B, ...] of all w ranks, in the order of the global batch, with
    gradient: for whatever relates the images of a batch to each other."""
    teacher_pass: Callable[[Sequence[str]], Iterator[tuple[Batch, Outputs]]]
    """One pass of the teacher over the training set (augmented views of epoch 1, no gradient)."""

    @property
    def train_size(self) -> int:
        """N, the number of training images; ``batch.index`` is below it."""
        return len(self.train_labels)

    def require_teacher(self) -> TappedModel:
        """The teacher, for methods that cannot do without one.

        Returns:
            The frozen teacher.

        Raises:
            UnsupportedPair: The run has no teacher.
        """
        if self.teacher is None:
            raise UnsupportedPair("this method needs a teacher, and the run has none")
        return self.teacher


class MethodConfig(BaseModel):
    """Hyper-parameters of one method: frozen, closed, each default with its source."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def tunable(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: Sequence[Any] | None = None,
    **bounds: Any,
) -> Any:
    """A field with a search range: ``low..high`` (inclusive, optionally log scale) or ``choices``.

    The range is only a suggestion for hyper-parameter search.

    Args:
        default: Value without a search.
        low: Lower end of the range, inclusive.
        high: Upper end of the range, inclusive.
        log: Search on a logarithmic scale.
        choices: Values to choose from, instead of a range.
        **bounds: pydantic's hard limits (``ge``, ``gt``, ``le``, ``lt``); the range lies inside.

    Returns:
        The field of a :class:`MethodConfig`.

    Raises:
        TypeError: Both a range and choices, or neither.
    """
    if (choices is None) == (low is None or high is None):
        raise TypeError("tunable() takes either low and high, or choices")
    space: dict[str, Any] = {"low": low, "high": high, "log": log}
    if choices is not None:
        space = {"choices": list(choices)}
    return Field(default, json_schema_extra={"tunable": space}, **bounds)


class Reads(Flag):
    """What a method reads of its teacher."""

    LOGITS = auto()
    """Its logits, or its classifier: networks without one (``num_classes=0``) have neither."""
    FEATURES = auto()
    """Its taps and their shapes, or its classifier, which is a function of one: ensembles have none
    of them."""


class Distiller(nn.Module, ABC):
    """One distillation method: turns the outputs for a batch into named, weighted loss terms.

    Layers made in ``__init__`` join the optimizer, the checkpoints and distributed training;
    buffers are saved too. The constructor raises :class:`UnsupportedPair` when the pair lacks
    what the method needs, so that a sweep learns it before training starts.
    """

    paper: ClassVar[Paper | None]
    """Where the method comes from; None for none."""
    uses_teacher: ClassVar[bool] = True
    taps: ClassVar[tuple[str, ...]] = ()
    """Names of the inner activations that :meth:`losses` reads of both networks."""
    reads: ClassVar[Reads] = Reads.LOGITS | Reads.FEATURES
    """What it reads of the teacher; it is refused teachers that lack it. Where the options decide,
    see :meth:`reads_with`."""
    task_terms: ClassVar[tuple[str, ...]] = ("ce",)
    """Names of the terms that teach the labels; all others distil. Optimizers that take the two
    apart ask for it."""
    Config: ClassVar[type[MethodConfig]] = MethodConfig

    def __init__(self, config: Any, setup: Setup) -> None:
        super().__init__()
        self.config = config
        self.gather = setup.gather

    @classmethod
    def memory(cls, config: Any, train_size: int) -> int:  # noqa: ARG003
        """Memory that grows with the training set: banks, tables.

        Asked before the method is built, so that what cannot fit is refused in one line.

        Args:
            config: The method's ``Config``.
            train_size: N.

        Returns:
            Bytes on the device for all training images together.
        """
        return 0

    @classmethod
    def reads_with(cls, config: Any) -> Reads:  # noqa: ARG003
        """What it reads of the teacher with these options, asked before the method is built.

        Args:
            config: The method's ``Config``.

        Returns:
            :attr:`reads`, or less.
        """
        return cls.reads

    def student_taps(self) -> tuple[str, ...]:
        """Names of the student's inner activations that :meth:`losses` reads; :attr:`taps`."""
        return self.taps

    def teacher_taps(self) -> tuple[str, ...]:
        """Names of the teacher's inner activations that :meth:`losses` reads; :attr:`taps`."""
        return self.taps

    def views(self) -> tuple[str, ...]:
        """Names of the further views of each image that :meth:`losses` reads beside the first.

        A view is the image with the run's own crop and flip drawn anew, and with what its name
        says: ``redrawn`` nothing more, ``randaugment`` RandAugment(2, 10). More views of a kind are
        told apart by a slash: ``redrawn/2``. Each costs a forward of teacher and student. For
        name ``v`` the images are ``batch.views[v]``, the outputs ``student.views[v]`` and
        ``teacher.views[v]``, with the same taps as the first view.
        """
        return ()

    @abstractmethod
    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """The loss terms of a batch; the engine optimises their sum.

        Args:
            batch: Images, labels and positions in the training set.
            student: The student's logits [B, K] and the taps of :meth:`student_taps`.
            teacher: The teacher's, without gradient; empty when ``uses_teacher`` is False.
            progress: Epoch and step.

        Returns:
            Scalars in float32, already weighted, under the paper's names (``ce``, ``tckd``).
        """

    def predict(self, student: Outputs) -> Tensor:
        """Logits of the network that is deployed, for the training accuracy.

        Called without gradient, after :meth:`losses` of the same batch.

        Args:
            student: The student's outputs for the batch.

        Returns:
            [B, K].
        """
        return student.logits

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars of the last :meth:`losses` call to log and never to optimise."""
        return {}

    def inspect(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """What the analysis is to see of held-out images; called without gradient.

        Args:
            batch: Held-out images.
            student: The student's outputs for them.
            teacher: The teacher's outputs for them.

        Returns:
            Name -> a row for each image, [B, ...].
        """
        return {}

    def deploy(self, student: TappedModel) -> nn.Module:
        """The network that is tested and shipped.

        Args:
            student: The trained student.

        Returns:
            A module that takes images [B, channels, H, W] to logits [B, K].
        """
        model: nn.Module = student.model
        return model
