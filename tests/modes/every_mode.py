"""The contract through the real engine: every method, in every precision, on one pair.

One pack trains all methods together, with clipping and a smaller last batch, is stopped in the
middle of an epoch and goes on from its checkpoints. Each method then trains alone without a stop.
``test_*.py`` beside this file choose the pair; ``tests/test_every_mode.py`` is the short form that
is part of `make test`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from contract_networks import VIT
from torch import Tensor, nn

from suite import methods, models
from suite.config import RunConfig, Runtime, parse
from suite.data import load
from suite.interface.distiller import Batch, Distiller, Progress, UnsupportedPair
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs
from suite.store.record import RunDirectory
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.pack import Interrupted, Pack
from suite.train.trainer import Trainer

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
UNIT_ROUNDOFF = {"bf16-mixed": 2.0**-8, "16-mixed": 2.0**-11}
"""Largest relative error of rounding to 8 and 11 significant bits (Higham 2002, Sec. 2.1)."""
CNN, SMALL_CNN = {"name": "cifar_resnet8x4"}, {"name": "cifar_resnet8"}
TRANSFORMER = {"name": "vit_tiny_patch16_224", "options": {**VIT, "img_size": 32}}
MIXER = {"name": "contract_mixer", "options": {"img_size": 32}}
PAIRS = {
    "cnn": (CNN, SMALL_CNN),
    "vit": (SMALL_CNN, TRANSFORMER),
    "mlp": (CNN, MIXER),
}
"""Teacher and student."""
OPTIONS = {"crd": {"negatives": 16, "feature_dim": 8}}
IMAGES, BATCH_SIZE, EPOCHS = 20, 8, 2  # two full batches and one of four images an epoch
RUNTIME = Runtime(accelerator="cpu", threads=1, tracker="none")


@dataclass
class Call:
    """What a method was given in the first step of its run, and what it gave."""

    distiller: Distiller  # as it was before, with its random stream
    batch: Batch
    student: Outputs
    teacher: Outputs
    progress: Progress
    terms: dict[str, Tensor]

    def again(self, student: Outputs | None = None, teacher: Outputs | None = None) -> float:
        """The loss once more, without engine or autocast, perhaps for other outputs."""
        distiller = copy.deepcopy(self.distiller)
        given = (student or self.student, teacher or self.teacher)
        terms = distiller.losses(self.batch, *given, self.progress)
        return float(torch.stack(list(terms.values())).sum().detach())

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return float(torch.stack(list(self.terms.values())).sum())


@dataclass
class Trained:
    """Finished trainers by method, with the first call of each, and why others are not there."""

    trainers: dict[str, Trainer] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def config(method: str, pair: str, precision: str) -> RunConfig:
    """A run of two epochs with gradient clipping."""
    teacher, student = PAIRS[pair]
    values: dict[str, Any] = {
        "data": {
            "name": "fake",
            "train_limit": IMAGES,
            "classes": 5,
            "image_size": 32,
            "eval_splits": [],
        },
        "student": student,
        "method": {"name": method, "options": OPTIONS.get(method, {})},
        "optimizer": {"lr": 0.01, "weight_decay": 5e-4, "clip_grad_norm": 1.0},
        "train": {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": precision},
    }
    if methods.find(method).uses_teacher:
        values["teacher"] = {**teacher, "pretrained": True}
    return parse(RunConfig, values, "test")


@cache
def ground(pair: str, precision: str) -> Ground:
    """Data and a teacher with random weights and running statistics of its own."""
    first = config("kd", pair, precision)
    data = load(first.data, Path("nowhere"))
    with seeded_globals(0, "teacher"):
        network = models.create(first.teacher, data)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
    network = network.eval().requires_grad_(False)
    return Ground.on(first, RUNTIME, make_fabric(first, RUNTIME), data, network)


def watch(trainer: Trainer, method: str, calls: dict[str, Call]) -> None:
    """Keep the method's first call, and check the types of all."""
    distiller = trainer.step.distiller
    losses = distiller.losses

    def watched(
        batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        given = [batch.image, student.logits, *student.taps.values()]
        given += [teacher.logits, *teacher.taps.values()]
        assert {tensor.dtype for tensor in given} == {torch.float32}
        assert not torch.is_autocast_enabled("cpu")
        if method in calls:
            return losses(batch, student, teacher, progress)
        del distiller.losses  # a copy must not watch
        before = copy.deepcopy(distiller)
        distiller.losses = watched
        terms = losses(batch, student, teacher, progress)
        kept = (changed(it, lambda tensor: tensor.detach().clone()) for it in (student, teacher))
        place = Progress(progress.epoch, progress.epochs, progress.step, progress.steps_per_epoch)
        detached = {name: term.detach() for name, term in terms.items()}
        calls[method] = Call(before, batch, *kept, place, detached)
        return terms

    distiller.losses = watched


def trainers(names: list[str], pair: str, precision: str, place: Path, found: Trained) -> None:
    """Build the methods that the pair allows."""
    here = ground(pair, precision)
    for method in names:
        run = RunDirectory(place / method)
        run.path.mkdir(exist_ok=True)
        try:
            trainer = build_trainer(config(method, pair, precision), here, RUNTIME, run)
        except UnsupportedPair as reason:
            found.refused[method] = str(reason)
            continue
        watch(trainer, method, found.calls)
        found.trainers[method] = trainer


def train(names: list[str], pair: str, precision: str, stop_after: int | None = None) -> Trained:
    """Train methods side by side; with ``stop_after``, in two processes' worth of work.

    The first stops and saves after so many steps; the second goes on from the checkpoints.
    """
    found, place, here = Trained(), Path(mkdtemp()), ground(pair, precision)
    steps = iter(range(stop_after or 10**9))
    attempts = 1 if stop_after is None else 2
    for attempt in range(attempts):
        trainers(names, pair, precision, place, found)
        pack = Pack(here.fabric, list(found.trainers.values()), here.teacher, here.layout)
        if attempt + 1 < attempts:
            with pytest.raises(Interrupted):
                pack.fit(lambda: next(steps, None) is None, 1e9)
        else:
            pack.fit(lambda: False, 1e9)
        for failure in pack.failures.values():
            raise failure
    return found


@cache
def packed(pair: str, precision: str) -> Trained:
    """All methods in one pack, stopped after the fourth step: within the second epoch."""
    return train(list(methods.names()), pair, precision, stop_after=4)


def final_state(trainer: Trainer) -> dict[str, Any]:
    """What must be equal bit for bit, flat by name."""
    state = {f"step.{name}": tensor for name, tensor in trainer.step.state_dict().items()}
    for number, values in enumerate(trainer.updates.optimizer.state_dict()["state"].values()):
        state |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
    return state


def check_same_bits_alone_and_packed(method: str, pair: str, precision: str) -> None:
    """Alone without a stop, or in a pack of all methods that was stopped and resumed."""
    together = packed(pair, precision)
    if method in together.refused:
        assert "\n" not in together.refused[method]
        return
    alone = train([method], pair, precision).trainers[method]
    there = together.trainers[method]
    assert alone.position.epoch == there.position.epoch == EPOCHS + 1
    assert alone.run.read_metrics()[-1]["train/loss"] == pytest.approx(
        there.run.read_metrics()[-1]["train/loss"], rel=0, abs=0
    )
    expected, found = final_state(alone), final_state(there)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(found[name])), name


def check_losses_are_those_of_float32(method: str, pair: str, precision: str) -> None:
    """Given what it was given, a method computes the same bits without engine and autocast."""
    call = packed(pair, precision).calls.get(method)
    if call is None:
        return
    assert call.again() == call.loss


def layers(network: nn.Module) -> int:
    """Matrix products and convolutions: where half precision rounds."""
    return sum(isinstance(module, nn.Linear | nn.Conv2d) for module in network.modules())


def check_half_precision_is_float32_up_to_rounding(method: str, pair: str, precision: str) -> None:
    """Outputs and losses of half precision against those of float32, in the first step.

    Each layer rounds its input, its weights and its output, each with a relative error of at most
    the unit roundoff u. Errors of layers add up in networks that keep the size of their
    activations, as normalised ones do: D layers give a relative error of at most 3 D u, in the
    Euclidean norm of an output. The loss may then differ by what such an error can do to it:
    it is measured, by 16 random errors of this size in all outputs of float32.
    """
    exact, half = (packed(pair, it).calls.get(method) for it in ("32-true", precision))
    if exact is None or half is None:
        return
    depth = max(layers(network) for network in networks(pair))
    error = 3 * depth * UNIT_ROUNDOFF[precision]
    for one, other in ((exact.student, half.student), (exact.teacher, half.teacher)):
        for name, tensor in {"logits": one.logits, **one.taps}.items():
            found = other.logits if name == "logits" else other.taps[name]
            assert (found - tensor).norm() <= error * tensor.norm(), name
    # What a method has computed at set-up from the teacher's outputs is that of half precision in
    # both: the loss of the method as it is there, for the outputs of float32
    expected = half.again(exact.student, exact.teacher)
    if same_buffers(exact.distiller, half.distiller):
        assert expected == exact.loss
    stream = torch.Generator().manual_seed(0)
    shifts = [
        abs(
            half.again(*(noisy(it, error, stream) for it in (exact.student, exact.teacher)))
            - expected
        )
        for _ in range(16)
    ]
    assert abs(half.loss - expected) <= max(shifts)


def same_buffers(one: Distiller, other: Distiller) -> bool:
    """Whether both have the same state but for what is trained."""
    pairs = zip(one.buffers(), other.buffers(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def networks(pair: str) -> list[nn.Module]:
    """Teacher and student."""
    student = packed(pair, "32-true").trainers["scratch"].step.student
    return [ground(pair, "32-true").teacher.network, student]


def noisy(outputs: Outputs, error: float, stream: torch.Generator) -> Outputs:
    """With a random error of relative size ``error`` in every tensor."""

    def shift(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=stream)
        return tensor + error * tensor.norm() / max(float(noise.norm()), 1e-30) * noise

    return changed(outputs, shift)


def changed(outputs: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    """With ``change`` made to every tensor, those of further views too."""
    return Outputs(
        change(outputs.logits),
        {name: change(it) for name, it in outputs.taps.items()},
        {name: changed(it, change) for name, it in outputs.views.items()},
    )
