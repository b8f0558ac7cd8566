"""One run's side of the training loop. It knows the Distiller interface and no method.

Everything a run has done so far is in :meth:`Trainer.state`, so that a run killed after any
checkpoint continues with the same bits. Order and augmentation are functions of (seed, epoch) and
need no state. The loop itself, over the batches that several runs may share, is in ``pack.py``.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Container, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from suite.config import RunConfig
from suite.data import Dataset
from suite.device import determinism, distributed
from suite.device.graphs import Graphed, Record
from suite.interface.distiller import Batch, Progress
from suite.interface.rng import derive_seed
from suite.interface.taps import Outputs, TappedModel
from suite.store import checkpoint
from suite.store.predictions import Predictions
from suite.store.record import RunDirectory
from suite.train import features
from suite.train.evaluate import evaluate
from suite.train.meter import Figures, Meter, figures_of
from suite.train.optimization.accumulation import MicroBatch, micro_batch_size
from suite.train.optimization.ema import Average
from suite.train.optimization.gradients import Gradients
from suite.train.optimization.optimizer_step import Updates
from suite.train.progress_watch import STEP, answers
from suite.train.random_streams import GlobalStreams
from suite.train.step import Step

log = logging.getLogger(__name__)


KEPT_AFTER_FAILURE = {"config", "position", "run"}
"""Of a trainer: what says which run it was and how far it came."""


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


class Computed(NamedTuple):
    """What a step leaves in memory that its replay fills again."""

    figures: Figures
    gradients: list[Tensor | None]  # see Gradients.compute


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
        teacher_predicted: Mapping[str, Tensor],
        *,
        fused: bool = False,
        keep_features_after: Container[int] = (),
        keep_stages: bool = False,
        record: Record[Computed] | None = None,
    ) -> None:
        self.fabric = fabric
        self.config = config
        self.data = data
        self.run = run
        self.step = step
        self.stream = stream  # the method's random stream
        self.teacher = teacher
        self.teacher_predicted = teacher_predicted
        self.position = Position()
        parted = config.train.accumulate > 1
        self.micro_batch_size = micro_batch_size(config.train, fabric.world_size)
        """Images of this rank that :meth:`advance` takes at once in a full step."""
        recorded = record is not None and not parted
        self.updates = Updates(config, step, fabric.device, fused=fused, recorded=recorded)
        module, _ = fabric.setup(step, self.updates.optimizer)
        self._gradients = Gradients(
            fabric, step, module, self.updates.optimizer, accumulated=parted
        )
        self._computed = Graphed(
            self._compute, self.micro_batch_size, [stream], record, self._reads
        )
        self._steps_per_epoch = data.train.steps(config.train.batch_size, fabric.world_size)
        self._taps, self._views = step.distiller.teacher_taps(), step.distiller.views()
        self._meter = Meter(fabric, {})
        self._globals = GlobalStreams(fabric.device)
        self.deployed = step.distiller.deploy(step.student)
        self.average = Average(self.deployed, config.train.ema_decay)
        self.predictions: dict[str, Predictions] = {}  # of the deployed network, last evaluation
        self._keep_features_after = keep_features_after
        self.keep_stages = keep_stages

    def release(self) -> None:
        """Let go of networks, optimizer and recordings after a failure: others need the memory."""
        for name in vars(self).keys() - KEPT_AFTER_FAILURE:
            delattr(self, name)
        gc.collect()  # hooks and recordings refer to each other in circles

    @property
    def done(self) -> bool:
        """Whether the last epoch is behind it."""
        return self.position.epoch > self.config.train.epochs

    @property
    def place(self) -> tuple[int, int]:
        """The epoch in progress, from 1, and the optimizer steps done in it."""
        return self.position.epoch, self.position.step_in_epoch

    @property
    def progress(self) -> tuple[int, int, int, int]:
        """What :class:`Progress` holds, for the step to come."""
        position, epochs = self.position, self.config.train.epochs
        done = (position.epoch - 1) * self._steps_per_epoch + position.step_in_epoch
        return position.epoch, epochs, done, self._steps_per_epoch

    def begin(self) -> None:
        """Make ready for the steps of the epoch in progress."""
        self.updates.begin(self.position.epoch)
        self.step.train()
        self._meter = Meter(self.fabric, self.position.sums)
        kinds, kind = self.position.device_kinds, self.fabric.device.type
        if kinds[-1:] != [kind]:
            kinds.append(kind)

    def advance(self, part: MicroBatch, teacher: Outputs | None) -> None:
        """A step's batch or a part of it, for which the teacher said ``teacher``.

        The optimizer steps after the last part.
        """
        batch = part.batch
        if STEP in self.step.asked:
            self._computed.give_up()  # a replay would see the step of the recording
        with self._globals.in_use():
            computed = self._computed(batch.truth, batch.index, *self._seen(batch, teacher))
        self._meter.add(computed.figures)
        if not self.updates.in_recording:
            self._gradients.attach(computed.gradients, part.share, last=part.last)
        if not part.last:
            return
        if not self.updates.in_recording:
            self.updates.step()
        self.average.update()
        self.position.step_in_epoch += 1

    def _seen(self, batch: Batch, teacher: Outputs | None) -> Iterator[Tensor]:
        """Of each view that the method reads: image, and the teacher's logits and taps."""
        views = (batch.image, *(batch.views[name] for name in self._views))
        if teacher is None:
            yield from views
            return
        said = (teacher, *(teacher.views[name] for name in self._views))
        for image, outputs in zip(views, said, strict=True):
            yield from (image, outputs.logits, *(outputs[tap] for tap in self._taps))

    def _reads(self) -> Hashable:
        """What a step depends on beside tensors."""
        return answers(Progress(*self.progress), self.step.asked)

    def _compute(self, truth: Tensor, index: Tensor, *seen: Tensor) -> Computed:
        """Forward, losses, backward and, where it can be recorded, the update."""
        self._gradients.clear()
        each = len(seen) // (1 + len(self._views))
        views = [seen[start : start + each] for start in range(0, len(seen), each)]
        with distributed.batch_norm(self.fabric, self.config.train.batch_norm):
            terms, hits = self._gradients.forward(truth, index, views, self.progress)
        gradients = self._gradients.compute(terms, self.updates.scale)
        loss = torch.stack(list(terms.values())).sum()
        diagnostics, skips = self.step.distiller.diagnostics(), self.updates.scaler.enabled
        figures = figures_of(len(truth), loss.detach(), terms, hits, diagnostics, skips=skips)
        if self.updates.in_recording:
            self.updates.step()
        return Computed(figures, gradients)

    def pause(self, seconds: float) -> None:
        """Bring the position up to date after steps that took ``seconds``."""
        self.position.sums = self._meter.read()
        self.position.train_seconds += seconds
        met = {*self.position.nondeterministic_ops, *determinism.seen()}
        self.position.nondeterministic_ops = sorted(met)

    def finish_epoch(self) -> None:
        """Evaluate if it is time, and write the epoch's row of metrics."""
        position, train = self.position, self.config.train
        if self.updates.scaler.collapsed:
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
        whose = step.student, self.teacher, step.distiller
        with self.average.shown():
            features.save_epoch(self.run, epoch, self.data, *whose)

    def evaluate(self) -> dict[str, float]:
        """Figures of the deployed network on every evaluation split, ``val/...``, ``test/...``."""
        self._share_statistics()
        figures: dict[str, float] = {}
        at_the_end = self.position.epoch >= self.config.train.epochs
        teacher = None
        if at_the_end and self.teacher is not None and self.teacher.has_classifier:
            teacher = self.teacher.model
        for split, images in self.data.evals.items():
            predicted = self.teacher_predicted.get(split)
            with self.average.shown():
                found = evaluate(self.fabric, self.deployed, images, predicted, teacher)
            figures |= {f"{split}/{name}": value for name, value in found.figures.items()}
            self.predictions[split] = found.predictions
        return figures

    def _row(self) -> dict[str, Any]:
        sums = dict(self.position.sums)
        images, steps = sums.pop("images"), sums.pop("steps") or math.nan
        row: dict[str, Any] = {
            "epoch": self.position.epoch,
            "lr": self.updates.rate,
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
            **self.updates.state_dict(),
            "average": self.average.state_dict(),
            "position": vars(self.position),
            "method_stream": self.stream.get_state(),
            "global_streams": [distributed.stack(self.fabric, it) for it in self._globals.states],
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
        self.updates.load_state_dict(state)
        self.average.load_state_dict(state.get("average", {}))  # older checkpoints have none
        self.position = Position(**state["position"])
        streams = [
            of_ranks[self.fabric.global_rank % len(of_ranks)]
            for of_ranks in state["global_streams"]
        ]
        self._restore_streams(state["method_stream"], streams)

    def _restore_streams(self, of_method: Tensor, of_torch: list[Tensor]) -> None:
        """Random streams; those of another kind of device start anew from the run's seed."""
        if len(of_torch) == len(self._globals.states):
            self.stream.set_state(of_method)
            self._globals.states = of_torch
            return
        self._globals.states[0] = of_torch[0]  # the CPU's
        self.stream.manual_seed(derive_seed(self.config.seed, "method", *self.place))
        log.warning(
            "the checkpoint was written on another kind of device than this %s: training goes on, "
            "with other random numbers and not with the same bits",
            self.fabric.device.type,
        )

    def _share_statistics(self) -> None:
        distributed.share_statistics(self.fabric, self.step, self.config.train.batch_norm)


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
