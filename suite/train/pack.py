"""The training loop, over one run or several that share data order, augmentation and teacher.

Runs of one pack go step by step side by side: a batch is made once, the teacher looks at it once,
and each run makes its own optimizer step with it. Each keeps its own random streams, checkpoints,
metrics and record, and ends with the same bits as it would alone (same machine, same threads).
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from lightning_fabric import Fabric
from torch import Tensor

from suite.config import RunConfig, Runtime
from suite.data import in_folders
from suite.device import determinism, distributed
from suite.device.gpu_streams import Lanes
from suite.interface.distiller import Batch
from suite.interface.taps import Outputs
from suite.train.mixing import Mixing
from suite.train.optimization.accumulation import MicroBatch, micro_batches
from suite.train.teacher import Teacher
from suite.train.trainer import Trainer

AT_ONCE_ON_GPU = 8
AT_ONCE_ON_CPU = 4


class Interrupted(Exception):
    """Training stopped on request after a checkpoint; running again continues it."""


def shared(config: RunConfig) -> Hashable:
    """What runs of one pack have in common: images, order, teacher and arithmetic.

    Runs with equal values can be packed, whatever their methods, students and optimizers.
    """
    train = config.train
    return (
        config.model_dump_json(include={"data", "teacher", "seed"}),
        train.batch_size,
        train.accumulate,
        train.precision,
        train.channels_last,
    )


def at_once(config: RunConfig, runtime: Runtime) -> int:
    """How many runs like this one may train side by side in one process."""
    if runtime.devices * runtime.nodes > 1:
        return 1
    if runtime.pack != "auto":
        return runtime.pack
    if in_folders(config.data.name):  # large images fill the device alone
        return 1
    gpu = runtime.accelerator != "cpu" and torch.cuda.is_available()
    return AT_ONCE_ON_GPU if gpu else AT_ONCE_ON_CPU


class Pack:
    """Runs that train side by side, and what became of them.

    ``finish`` is called with every run that has reached its end.
    """

    def __init__(
        self,
        fabric: Fabric,
        trainers: Sequence[Trainer],
        teacher: Teacher | None,
        layout: torch.memory_format,
        finish: Callable[[Trainer], None] = lambda _: None,
    ) -> None:
        self.trainers = trainers
        self._fabric = fabric
        self.failures: dict[Trainer, Exception] = {}
        self._teacher = teacher
        self._layout = layout
        self._finish = finish
        self._lanes = Lanes(fabric.device, len(trainers))

    def fit(self, should_stop: Callable[[], bool], checkpoint_seconds: float) -> None:
        """Train all to their ends; a run that fails is noted and leaves the others alone.

        Raises :class:`Interrupted` after saving when ``should_stop()``. Of runs that stopped at
        different places, those behind catch up first.
        """
        clock = _Clock(self._fabric, should_stop, checkpoint_seconds)
        for trainer in self.trainers:
            self._guarded(trainer, trainer.resume)
        self._finish_those_done(self.trainers)
        while going := self._well(it for it in self.trainers if not it.done):
            place = min(trainer.place for trainer in going)
            group = [trainer for trainer in going if trainer.place == place]
            ahead = (trainer.place for trainer in going if trainer.place != place)
            until = min((step for epoch, step in ahead if epoch == place[0]), default=None)
            self._train(group, until, clock)

    def step(self, group: Sequence[Trainer], batch: Batch, rows: int | None = None) -> None:
        """One optimizer step of each run of the group, ``rows`` images at once.

        None: as many as the runs' configuration says.
        """
        image, *others = (
            view.contiguous(memory_format=self._layout)
            for view in (batch.image, *batch.views.values())
        )
        batch = replace(batch, image=image, views=dict(zip(batch.views, others, strict=True)))
        for part in micro_batches(batch, rows or group[0].micro_batch_size):
            self._advance(self._well(group), part)

    def _advance(self, group: Sequence[Trainer], part: MicroBatch) -> None:
        """A part of the step of each run, or all of it."""
        outputs = None if self._teacher is None else self._say(self._teacher, group, part.batch)
        for number, trainer in enumerate(group):
            with self._lanes.lane(number):
                self._guarded(trainer, partial(trainer.advance, part, outputs))
        self._lanes.join()

    def _say(self, teacher: Teacher, group: Sequence[Trainer], batch: Batch) -> Outputs:
        """What the teacher says of each view, with the taps of those who read it."""

        def of(image: Tensor, readers: Iterable[Trainer], view: str = "") -> Outputs:
            taps = (tap for it in readers for tap in it.step.distiller.teacher_taps())
            return teacher(image, tuple(dict.fromkeys(taps)), view)

        views = {
            name: of(image, (it for it in group if name in it.step.distiller.views()), name)
            for name, image in batch.views.items()
        }
        return replace(of(batch.image, group), views=views)

    def _train(self, group: list[Trainer], until: int | None, clock: _Clock) -> None:
        """The epoch in progress, to its end or to where another run already is (step ``until``)."""
        lead, (epoch, first) = group[0], group[0].place
        for trainer in group:
            trainer.begin()
        batches = lead.data.train.epoch(
            lead.config.seed,
            epoch,
            lead.config.train.batch_size,
            first_step=first,
            rank=lead.fabric.global_rank,
            world_size=lead.fabric.world_size,
            views=tuple(dict.fromkeys(it for one in group for it in one.step.distiller.views())),
            epochs=max(one.config.train.epochs for one in group),
        )
        mixing = Mixing(lead.config.data, lead.data.num_classes, lead.config.seed, lead.fabric)
        clock.start()
        some = batches if until is None else islice(batches, until - first)
        for step, batch in enumerate(some, start=first):
            self.step(group, mixing(batch, epoch, step))
            group = self._well(group)
            if not group:
                return
            if clock.due():
                self._pause(group, clock)
                self._save(group, clock)
        self._pause(group, clock)
        if until is None:
            self._end_epoch(group, clock)

    def _end_epoch(self, group: list[Trainer], clock: _Clock) -> None:
        for trainer in group:
            self._guarded(trainer, trainer.finish_epoch)
        group = self._well(group)
        if clock.due() or any(trainer.done for trainer in group):
            self._save(group, clock)  # always after a last epoch: what follows can then be repeated
        self._finish_those_done(group)

    def _pause(self, group: Sequence[Trainer], clock: _Clock) -> None:
        """The time since the last pause is shared out evenly."""
        seconds = clock.lap() / len(group)
        for trainer in group:
            trainer.pause(seconds)

    def _save(self, group: Sequence[Trainer], clock: _Clock) -> None:
        """Save; raise :class:`Interrupted` if asked to stop."""
        for trainer in group:
            trainer.save()
        if clock.saved():
            raise Interrupted(f"stopped in epoch {min(trainer.place for trainer in group)[0]}")
        clock.start()

    def _finish_those_done(self, group: Sequence[Trainer]) -> None:
        for trainer in group:
            if trainer.done:
                self._guarded(trainer, partial(self._finish, trainer))

    def _well(self, group: Iterable[Trainer]) -> list[Trainer]:
        return [trainer for trainer in group if trainer not in self.failures]

    def _guarded(self, trainer: Trainer, action: Callable[[], None]) -> None:
        """Do it, unless the run has failed before; a failure is the run's own."""
        if trainer in self.failures:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  (the caller gets them all)
            self.failures[trainer] = without_frames(determinism.explained(error))
            trainer.release()


def without_frames(error: Exception) -> Exception:
    """The same error with its traceback as text: frames would keep a failed step's tensors alive.

    The text is a note, which is printed with the error.
    """
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    chain: list[BaseException | None] = [error]
    while chain:
        if (link := chain.pop()) is not None and link.__traceback__ is not None:
            link.__traceback__ = None
            chain += [link.__cause__, link.__context__]
    return error


class _Clock:
    """When to save, whether to stop, and how long the steps took."""

    def __init__(
        self, fabric: Fabric, should_stop: Callable[[], bool], checkpoint_seconds: float
    ) -> None:
        self._fabric = fabric
        self._asked = 0
        self._should_stop = should_stop
        self._seconds = checkpoint_seconds
        self._last_save = time.monotonic()
        self.start()

    def start(self) -> None:
        """The steps begin, or go on after something else."""
        self._started = time.perf_counter()

    def lap(self) -> float:
        """Seconds of the steps since they began."""
        return time.perf_counter() - self._started

    def due(self) -> bool:
        """True when asked to stop or when the last checkpoint is old enough.

        Several ranks vote, on every :data:`distributed.STEPS_BETWEEN_VOTES`-th call.
        """
        self._asked += 1
        if self._fabric.world_size > 1 and self._asked % distributed.STEPS_BETWEEN_VOTES:
            return False
        wish = self._should_stop() or time.monotonic() - self._last_save >= self._seconds
        return distributed.agree(self._fabric, wish)

    def saved(self) -> bool:
        """Note that everything is saved; whether to stop now."""
        self._last_save = time.monotonic()
        return distributed.agree(self._fabric, self._should_stop())
