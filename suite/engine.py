"""The training loop. It knows the Distiller interface and no method.

Everything the loop has done so far is in :meth:`Trainer.state`, so that a run killed after any
checkpoint continues with the same bits. Order and augmentation are functions of (seed, epoch) and
need no state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from suite import checkpoint, distributed
from suite.config import RunConfig
from suite.data import Dataset
from suite.distiller import Batch, Distiller, Progress
from suite.evaluate import evaluate
from suite.optim import make_optimizer, make_schedule
from suite.record import RunDirectory
from suite.taps import Outputs, TappedModel


class Interrupted(Exception):
    """Training stopped on request after a checkpoint; running again continues it."""


class DivergedError(RuntimeError):
    """The loss is no longer finite."""


class Step(nn.Module):
    """What one optimizer step computes: student, frozen teacher and method in one forward.

    One module, so that distributed training and mixed precision wrap it as a whole. The teacher
    is held outside the module tree: it has nothing to train, to save or to synchronise.
    """

    def __init__(
        self, student: TappedModel, distiller: Distiller, teacher: TappedModel | None
    ) -> None:
        super().__init__()
        self.student = student
        self.distiller = distiller
        self._teacher = (teacher,)

    def forward(
        self, image: Tensor, label: Tensor, index: Tensor, progress: tuple[int, ...]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss terms in float32 and the student's number of hits on the batch."""
        student = self.student(image, self.distiller.student_taps()).float()
        teacher = self.ask_teacher(image, student)
        batch = Batch(image, label, index)
        with torch.autocast(image.device.type, enabled=False):
            terms = self.distiller.losses(batch, student, teacher, Progress(*progress))
            with torch.no_grad():
                hits = (self.distiller.predict(student).argmax(1) == label).sum()
        return terms, hits

    @torch.no_grad()
    def ask_teacher(self, image: Tensor, student: Outputs) -> Outputs:
        """The teacher's outputs; empty logits when the run has none."""
        (teacher,) = self._teacher
        if teacher is None:
            return Outputs(student.logits.new_empty(0))
        outputs: Outputs = teacher(image, self.distiller.teacher_taps())
        return outputs.float()


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 1  # the epoch in progress, from 1
    step_in_epoch: int = 0  # optimizer steps done in it
    train_seconds: float = 0.0  # over all attempts
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch in progress


class Trainer:
    """Trains one student to the end of its last epoch, whatever interrupts it on the way."""

    def __init__(
        self,
        fabric: Fabric,
        config: RunConfig,
        data: Dataset,
        step: Step,
        run: RunDirectory,
        stream: torch.Generator,
        teacher_choices: Mapping[str, Tensor],
    ) -> None:
        self.fabric = fabric
        self.config = config
        self.data = data
        self.run = run
        self.step = step
        self.stream = stream  # the method's random stream
        self.position = Position()
        self.optimizer = make_optimizer(config.optimizer, step, config.train.batch_size)
        self.schedule = make_schedule(config.schedule, self.optimizer, config.train.epochs)
        self._module, self._optimizer = fabric.setup(step, self.optimizer)
        self.deployed = step.distiller.deploy(step.student)
        self.teacher_choices = teacher_choices
        self.choices: dict[str, Tensor] = {}  # the deployed network's, at its last evaluation

    def fit(self, should_stop: Callable[[], bool], checkpoint_seconds: float) -> None:
        """Train until done. Raises :class:`Interrupted` after saving when ``should_stop()``."""
        saver = _Saver(self, should_stop, checkpoint_seconds)
        self._resume()
        self.fabric.barrier()  # nobody writes what another still reads
        while self.position.epoch <= self.config.train.epochs:
            self._train_epoch(saver)
            self._finish_epoch()
            saver.after_epoch()

    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch."""
        return self.data.train.steps(self.config.train.batch_size, self.fabric.world_size)

    def _train_epoch(self, saver: _Saver) -> None:
        position, config = self.position, self.config
        self.schedule.step(position.epoch - 1)
        self.step.train()
        meter = _Meter(position.sums, self.fabric)
        batches = self.data.train.epoch(
            config.seed,
            position.epoch,
            config.train.batch_size,
            first_step=position.step_in_epoch,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        started = time.perf_counter()
        for batch in batches:
            self._one_step(batch, meter)
            position.step_in_epoch += 1
            if saver.due():
                position.sums = meter.read()
                position.train_seconds += time.perf_counter() - started
                saver.save()
                started = time.perf_counter()
        position.sums = meter.read()
        position.train_seconds += time.perf_counter() - started

    def _one_step(self, batch: Batch, meter: _Meter) -> None:
        position, train = self.position, self.config.train
        steps = self.steps_per_epoch()
        done = (position.epoch - 1) * steps + position.step_in_epoch
        image = batch.image
        if train.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        with distributed.batch_norm(self.fabric, train.batch_norm):
            terms, hits = self._module(
                image, batch.label, batch.index, (position.epoch, train.epochs, done, steps)
            )
        loss = torch.stack(list(terms.values())).sum()
        self.fabric.backward(loss)
        if self.config.optimizer.clip_grad_norm is not None:
            self.fabric.clip_gradients(
                self._module, self._optimizer, max_norm=self.config.optimizer.clip_grad_norm
            )
        self._optimizer.step()
        self._optimizer.zero_grad()
        meter.add(len(batch), loss, terms, hits, self.step.distiller.diagnostics())

    def _finish_epoch(self) -> None:
        position, train = self.position, self.config.train
        row = self._row()
        if position.epoch % train.eval_every == 0 or position.epoch == train.epochs:
            row |= self.evaluate()
        row = _finite(row)
        if self.fabric.is_global_zero:
            self.run.append_metrics(row)
        position.epoch += 1
        position.step_in_epoch = 0
        position.sums = {}

    def evaluate(self) -> dict[str, float]:
        """Figures of the deployed network on every evaluation split, ``val/...``, ``test/...``."""
        distributed.share_statistics(self.fabric, self.step, self.config.train.batch_norm)
        figures: dict[str, float] = {}
        for split, images in self.data.evals.items():
            choice = self.teacher_choices.get(split)
            found = evaluate(self.fabric, self.deployed, images, choice)
            figures |= {f"{split}/{name}": value for name, value in found.figures.items()}
            self.choices[split] = found.choice
        return figures

    def _row(self) -> dict[str, Any]:
        sums = dict(self.position.sums)
        images, steps = sums.pop("images"), sums.pop("steps")
        row: dict[str, Any] = {
            "epoch": self.position.epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": self.position.train_seconds,
            "train/top1_percent": 100 * sums.pop("hits") / images,
        }
        return row | {name: value / steps for name, value in sums.items()}

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from here with the same bits; all ranks must call it."""
        distributed.share_statistics(self.fabric, self.step, self.config.train.batch_norm)
        device = _device_stream(self.fabric.device)
        return {
            "run_id": self.config.run_id,
            "step": self.step.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "position": vars(self.position),
            "method_stream": self.stream.get_state(),
            "global_streams": distributed.stack(self.fabric, torch.get_rng_state()),
            "device_streams": None if device is None else distributed.stack(self.fabric, device),
        }

    def _resume(self) -> None:
        state = checkpoint.load(self.run)
        if state is None:
            if self.fabric.is_global_zero:
                self.run.keep_metrics_until(0)
            return
        self.step.load_state_dict(state["step"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.position = Position(**state["position"])
        self.stream.set_state(state["method_stream"])
        mine = self.fabric.global_rank % len(state["global_streams"])
        torch.set_rng_state(state["global_streams"][mine])
        if state["device_streams"] is not None:
            torch.cuda.set_rng_state(state["device_streams"][mine], self.fabric.device)
        if self.fabric.is_global_zero:
            self.run.keep_metrics_until(self.position.epoch - 1)


class _Saver:
    """Decides when to save, and stops the run when asked to."""

    def __init__(self, trainer: Trainer, should_stop: Callable[[], bool], seconds: float) -> None:
        self._trainer = trainer
        self._should_stop = should_stop
        self._seconds = seconds
        self._last = time.monotonic()
        self._asked = 0

    def due(self) -> bool:
        """True when the run was asked to stop or the last checkpoint is old enough.

        Several ranks vote, on every :data:`distributed.STEPS_BETWEEN_VOTES`-th call.
        """
        self._asked += 1
        fabric = self._trainer.fabric
        if fabric.world_size > 1 and self._asked % distributed.STEPS_BETWEEN_VOTES:
            return False
        wish = self._should_stop() or time.monotonic() - self._last >= self._seconds
        return distributed.agree(fabric, wish)

    def save(self) -> None:
        """Write a checkpoint; raise :class:`Interrupted` if asked to stop."""
        state = self._trainer.state()
        if self._trainer.fabric.is_global_zero:
            checkpoint.save(self._trainer.run, state)
        self._last = time.monotonic()
        if distributed.agree(self._trainer.fabric, self._should_stop()):
            raise Interrupted(f"stopped in epoch {self._trainer.position.epoch}")

    def after_epoch(self) -> None:
        """Save if due; always after the last epoch, so that what follows can be repeated."""
        last = self._trainer.position.epoch > self._trainer.config.train.epochs
        if last or self.due():
            self.save()


class _Meter:
    """Sums over an epoch, kept on the device and read once; of several ranks, their mean."""

    def __init__(self, start: Mapping[str, float], fabric: Fabric) -> None:
        self._fabric = fabric
        device = fabric.device
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=device)
            for name, value in start.items()
        }

    def add(
        self,
        images: int,
        loss: Tensor,
        terms: Mapping[str, Tensor],
        hits: Tensor,
        diagnostics: Mapping[str, Tensor],
    ) -> None:
        """Add one batch: losses and diagnostics are averaged over steps, hits over images."""
        one = torch.ones((), device=self._fabric.device)
        found = {"images": one * images, "steps": one, "hits": hits, "train/loss": loss}
        found |= {f"train/{name}": term for name, term in terms.items()}
        found |= {f"diagnostics/{name}": value for name, value in diagnostics.items()}
        for name, value in found.items():
            wide = value.detach().double()
            self._sums[name] = self._sums[name] + wide if name in self._sums else wide

    def read(self) -> dict[str, float]:
        """The sums so far, those before the last resume included."""
        sums = torch.stack(list(self._sums.values()))
        values = cast(Tensor, self._fabric.all_reduce(sums, reduce_op="mean")).tolist()
        return dict(zip(self._sums, values, strict=True))


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row without diagnostics that are not finite; raises when anything else is not."""
    broken = [name for name, value in row.items() if not math.isfinite(value)]
    losses = [name for name in broken if not name.startswith("diagnostics/")]
    if losses:
        raise DivergedError(
            f"the loss is not finite in epoch {row['epoch']}: {', '.join(losses)}; "
            "lower optimizer.lr or the method's weights"
        )
    return {name: value for name, value in row.items() if name not in broken}


def _device_stream(device: torch.device) -> Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None
