"""One run's side of the training loop. It knows the Distiller interface and no method.

Everything a run has done so far is in :meth:`Trainer.state`, so that a run killed after any
checkpoint continues with the same bits. Order and augmentation are functions of (seed, epoch) and
need no state. The loop itself, over the batches that several runs may share, is in ``pack.py``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from suite.config import RunConfig
from suite.data import Dataset
from suite.device import determinism, distributed
from suite.device.graphs import Graphed, Record
from suite.device.precision import LossScaler
from suite.interface.distiller import Batch, Progress
from suite.interface.rng import derive_seed
from suite.interface.taps import Outputs, TappedModel
from suite.store import checkpoint
from suite.store.record import RunDirectory
from suite.train import features
from suite.train.evaluate import evaluate
from suite.train.meter import Meter
from suite.train.optim import make_optimizer, make_schedule, match_layouts
from suite.train.step import Step
from suite.train.watched import STEP, answers

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss is no longer finite."""


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 1  # the epoch in progress, from 1
    step_in_epoch: int = 0  # optimizer steps done in it
    train_seconds: float = 0.0  # over all attempts
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch in progress
    nondeterministic_ops: list[str] = field(default_factory=list)  # met so far, over all attempts
    device_kinds: list[str] = field(default_factory=list)  # cuda or cpu, in the order of attempts


class _Computed(NamedTuple):
    """Of one step, before the optimizer's part."""

    loss: Tensor
    terms: dict[str, Tensor]
    hits: Tensor  # images that the student classifies correctly
    diagnostics: dict[str, Tensor]
    gradients: list[Tensor | None]  # of all parameters


class Trainer:
    """One student on its way to the end of its last epoch."""

    def __init__(
        self,
        fabric: Fabric,
        config: RunConfig,
        data: Dataset,
        step: Step,
        run: RunDirectory,
        stream: torch.Generator,
        teacher: TappedModel | None,
        teacher_choices: Mapping[str, Tensor],
        *,
        fused: bool = False,
        keep_features_after: Container[int] = (),
        record: Record[_Computed] | None = None,
    ) -> None:
        self.fabric = fabric
        self.config = config
        self.data = data
        self.run = run
        self.step = step
        self.stream = stream  # the method's random stream
        self.teacher = teacher
        self.teacher_choices = teacher_choices
        self.position = Position()
        self.optimizer = make_optimizer(
            config.optimizer.at(config.train.batch_size), step, fused=fused
        )
        self.schedule = make_schedule(config.schedule, self.optimizer, config.train.epochs)
        self._module, _ = fabric.setup(step, self.optimizer)
        self.scaler = LossScaler(config.train.precision, fabric.device.type, self.optimizer)
        self._parameters = [it for it in step.parameters() if it.requires_grad]
        self._replayed = Graphed(self._forward_and_backward, [stream], record, self._reads)
        self._steps_per_epoch = data.train.steps(config.train.batch_size, fabric.world_size)
        self._taps = step.distiller.teacher_taps()
        self._globals = _global_streams(fabric.device)  # dropout and stochastic depth
        self.deployed = step.distiller.deploy(step.student)
        self.choices: dict[str, Tensor] = {}  # the deployed network's, at its last evaluation
        self._keep_features_after = keep_features_after

    @property
    def done(self) -> bool:
        """Whether the last epoch is behind it."""
        return self.position.epoch > self.config.train.epochs

    @property
    def place(self) -> tuple[int, int]:
        """The epoch in progress, from 1, and the optimizer steps done in it."""
        return self.position.epoch, self.position.step_in_epoch

    def begin(self) -> None:
        """Make ready for the steps of the epoch in progress."""
        self.schedule.step(self.position.epoch - 1)
        self.step.train()
        self._meter = Meter(self.position.sums, self.fabric, skips=self.scaler.enabled)
        kinds, kind = self.position.device_kinds, self.fabric.device.type
        if kinds[-1:] != [kind]:
            kinds.append(kind)

    def advance(self, batch: Batch, teacher: Outputs | None) -> None:
        """One optimizer step on ``batch``, for which the teacher said ``teacher``."""
        position, train = self.position, self.config.train
        done = (position.epoch - 1) * self._steps_per_epoch + position.step_in_epoch
        self._progress = (position.epoch, train.epochs, done, self._steps_per_epoch)
        if STEP in self.step.asked:
            self._replayed.give_up()  # a replay would see the step of the recording
        full = len(batch) == train.batch_size  # the smaller last batch of an epoch comes once
        compute: Callable[..., _Computed] = self._replayed if full else self._forward_and_backward
        said = () if teacher is None else (teacher.logits, *(teacher[it] for it in self._taps))
        with self._own_globals():
            computed = compute(batch.image, batch.label, batch.index, *said)
        for parameter, gradient in zip(self._parameters, computed.gradients, strict=True):
            parameter.grad = gradient  # a replay fills them but does not attach them
        self.scaler.step(self.config.optimizer.clip_grad_norm)
        self._meter.add(
            len(batch), computed.loss, computed.terms, computed.hits, computed.diagnostics
        )
        position.step_in_epoch += 1

    def _reads(self) -> Hashable:
        """What a step depends on beside tensors."""
        return answers(Progress(*self._progress), self.step.asked)

    def _forward_and_backward(
        self, image: Tensor, label: Tensor, index: Tensor, *said: Tensor
    ) -> _Computed:
        for parameter in self._parameters:
            parameter.grad = None  # also what a recording that failed has left
        logits, taps = (said[0], said[1:]) if said else (None, ())
        named = dict(zip(self._taps, taps, strict=True)) if said else {}
        with distributed.batch_norm(self.fabric, self.config.train.batch_norm):
            terms, hits = self._module(image, label, index, self._progress, logits, named)
        loss = torch.stack(list(terms.values())).sum()
        self.fabric.backward(self.scaler.scale(loss))
        return _Computed(
            loss.detach(),
            {name: term.detach() for name, term in terms.items()},
            hits,
            self.step.distiller.diagnostics(),
            [parameter.grad for parameter in self._parameters],
        )

    def pause(self, seconds: float) -> None:
        """Bring the position up to date after steps that took ``seconds``."""
        self.position.sums = self._meter.read()
        self.position.train_seconds += seconds
        met = {*self.position.nondeterministic_ops, *determinism.seen()}
        self.position.nondeterministic_ops = sorted(met)

    def finish_epoch(self) -> None:
        """Evaluate if it is time, and write the epoch's row of metrics."""
        position, train = self.position, self.config.train
        if self.scaler.collapsed:
            raise DivergedError(
                f"the gradients overflow float16 in every step of epoch {position.epoch}: lower "
                "optimizer.lr or the method's weights, or take train.precision=bf16-mixed"
            )
        row = self._row()
        if position.epoch % train.eval_every == 0 or position.epoch == train.epochs:
            row |= self.evaluate()
        row = _finite(row, last=position.epoch == train.epochs)
        if self.fabric.is_global_zero:
            self.run.append_metrics(row)
            where = (self.run.path.name, position.epoch, train.epochs)
            log.info("run %s: epoch %d of %d, %.1f s", *where, position.train_seconds)
            if position.epoch in self._keep_features_after:
                self._keep_features()
        position.epoch += 1
        position.step_in_epoch = 0
        position.sums = {}

    def _keep_features(self) -> None:
        epoch, step = self.position.epoch, self.step
        features.save_epoch(self.run, epoch, self.data, step.student, self.teacher, step.distiller)

    def evaluate(self) -> dict[str, float]:
        """Figures of the deployed network on every evaluation split, ``val/...``, ``test/...``."""
        self._share_statistics()
        figures: dict[str, float] = {}
        for split, images in self.data.evals.items():
            choice = self.teacher_choices.get(split)
            found = evaluate(self.fabric, self.deployed, images, choice)
            figures |= {f"{split}/{name}": value for name, value in found.figures.items()}
            self.choices[split] = found.choice
        return figures

    def _row(self) -> dict[str, Any]:
        sums = dict(self.position.sums)
        images, steps = sums.pop("images"), sums.pop("steps") or math.nan
        row: dict[str, Any] = {
            "epoch": self.position.epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": self.position.train_seconds,
            "train/top1_percent": 100 * sums.pop("hits") / images,
        }
        return row | {name: value / steps for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here with the same bits; all ranks must call it."""
        self._share_statistics()
        return {
            "run_id": self.config.run_id,
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.scaler.state_dict(),
            "position": vars(self.position),
            "method_stream": self.stream.get_state(),
            "global_streams": [distributed.stack(self.fabric, it) for it in self._globals],
        }

    def save(self) -> None:
        """Write a checkpoint; all ranks must call it."""
        state = self.state()
        if self.fabric.is_global_zero:
            checkpoint.save(self.run, state)

    def resume(self) -> None:
        """Go on from the checkpoint, or from the start where there is none."""
        rows = len(self.run.read_metrics())
        state = checkpoint.load(self.run, lambda it: _ahead(it["position"]["epoch"] - 1, rows))
        self.fabric.barrier()  # nobody writes what another still reads
        if state is not None:
            self._restore(state)
        if self.fabric.is_global_zero:
            self.run.keep_metrics_until(self.position.epoch - 1)

    def _restore(self, state: dict[str, Any]) -> None:
        self.step.load_state_dict(state["step"])
        self.optimizer.load_state_dict(state["optimizer"])
        match_layouts(self.optimizer)
        self.scaler.load_state_dict(state["precision"])
        self.position = Position(**state["position"])
        streams = [
            of_ranks[self.fabric.global_rank % len(of_ranks)]
            for of_ranks in state["global_streams"]
        ]
        self._restore_streams(state["method_stream"], streams)

    def _restore_streams(self, of_method: Tensor, of_torch: list[Tensor]) -> None:
        """Random streams; those of another kind of device start anew from the run's seed."""
        if len(of_torch) == len(self._globals):
            self.stream.set_state(of_method)
            self._globals = of_torch
            return
        self._globals[0] = of_torch[0]  # the CPU's
        self.stream.manual_seed(derive_seed(self.config.seed, "method", *self.place))
        log.warning(
            "the checkpoint was written on another kind of device than this %s: training goes on, "
            "with other random numbers and not with the same bits",
            self.fabric.device.type,
        )

    def _share_statistics(self) -> None:
        distributed.share_statistics(self.fabric, self.step, self.config.train.batch_norm)

    @contextmanager
    def _own_globals(self) -> Iterator[None]:
        """torch's global random streams as if no other run shared the process."""
        _set_global_streams(self._globals, self.fabric.device)
        yield
        self._globals = _global_streams(self.fabric.device)


def _finite(row: dict[str, Any], *, last: bool) -> dict[str, Any]:
    """The row without what is not finite and does no harm; raises when anything else is not.

    Diagnostics do none. Nor does the likelihood of evaluation images before the last epoch: early
    on, the running statistics of batch normalisation may lag so far behind that logits overflow.
    Were it the weights, the next epoch's loss would say so.
    """
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    figures = [name for name in broken if not name.startswith("diagnostics/")]
    if any(last or not name.endswith("/nll") for name in figures):
        raise DivergedError(
            f"the loss is not finite in epoch {row['epoch']}: {', '.join(figures)}; "
            "lower optimizer.lr or the method's weights"
        )
    if figures:
        log.warning("epoch %d: %s: not finite, left out", row["epoch"], ", ".join(figures))
    return {name: value for name, value in row.items() if name not in broken}


def _ahead(epochs: int, rows: int) -> str | None:
    """The fault of a checkpoint after so many epochs when so many rows of metrics are left."""
    return f"metrics.jsonl is whole for {rows} of its {epochs} epochs" if rows < epochs else None


def _global_streams(device: torch.device) -> list[Tensor]:
    """States of the CPU's generator and of the GPU's, if that is where the run is."""
    streams = [torch.get_rng_state()]
    return [*streams, torch.cuda.get_rng_state(device)] if device.type == "cuda" else streams


def _set_global_streams(streams: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(streams[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(streams[1], device)
