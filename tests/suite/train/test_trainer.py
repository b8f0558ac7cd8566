"""The engine's fast paths train what a plain loop trains."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from tape_recorder import TapeRecorder
from torch.nn import functional

from suite.config import MethodSpec, OptimizerConfig, RunConfig, Runtime, ScheduleConfig, parse
from suite.data import load
from suite.interface.distiller import Progress
from suite.interface.rng import seeded_globals
from suite.interface.taps import Outputs
from suite.models import create
from suite.store import checkpoint
from suite.store.record import RunDirectory
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.optimization.accumulation import MicroBatch
from suite.train.pack import Interrupted, Pack
from suite.train.progress_watch import STEP, answers

STUDENT = {"name": "cifar_wrn_16_1"}
TEACHER = {"name": "cifar_wrn_16_2"}
TEMPERATURE = 4.0
LR = 2**-10
"""The same in float32. At 0.05 rounding grows to thousandths in the epoch, from any two orders."""


def config(**train):
    values = {
        "data": {"name": "fake", "train_limit": 512, "eval_splits": []},
        "student": STUDENT,
        "teacher": {**TEACHER, "pretrained": True},
        "method": {"name": "kd", "options": {"ce_weight": 0.5, "kd_weight": 0.5}},
        "optimizer": {"lr": LR, "weight_decay": 5e-4},
        "schedule": {"name": "constant"},
        "train": {"epochs": 1, "batch_size": 32, **train},
    }
    return parse(RunConfig, values, "test")


def teacher(data):
    """Random weights, and normalisations that are no identity."""
    with seeded_globals(0, "teacher"):
        network = create(config().teacher, data)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval().requires_grad_(False)


@pytest.fixture
def ground_of(tmp_path):
    def build(config, **options):
        runtime = Runtime(accelerator="cpu", threads=1, tracker="none", **options)
        data = load(config.data, tmp_path)
        ground = Ground.on(config, runtime, make_fabric(config, runtime), data, teacher(data))
        return ground, runtime

    return build


def engine_epoch(ground_of, folder, **options):
    """Weights and batch statistics after an epoch of the engine."""
    ground, runtime = ground_of(config(), **options)
    trainer = build_trainer(config(), ground, runtime, RunDirectory(folder))
    folder.mkdir()
    pack = Pack(ground.fabric, [trainer], ground.teacher, ground.layout)
    pack.fit(lambda: False, 1e9)
    assert not pack.failures
    return trainer.step.student.model.state_dict()


def plain_epoch(data):
    """The same epoch as the field writes it: eager, NCHW, the teacher as it is, plain SGD."""
    with seeded_globals(0, "init"):
        student = timm.create_model(
            STUDENT["name"], num_classes=data.num_classes, in_chans=data.image_shape[0]
        )
    guide = teacher(data).model
    optimizer = torch.optim.SGD(student.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    student.train()
    for batch in data.train.epoch(0, 1, 32):
        logits = student(batch.image)
        with torch.no_grad():
            soft = functional.softmax(guide(batch.image) / TEMPERATURE, dim=1)
        ours = functional.log_softmax(logits / TEMPERATURE, dim=1)
        distance = TEMPERATURE**2 * functional.kl_div(ours, soft, reduction="batchmean")
        loss = 0.5 * functional.cross_entropy(logits, batch.label) + 0.5 * distance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.state_dict()


def distance(one, other):
    """Of two trained networks, relative to how far training has moved the second."""
    with seeded_globals(0, "init"):
        start = timm.create_model(STUDENT["name"], num_classes=10).state_dict()
    floats = [name for name, value in start.items() if value.is_floating_point()]
    apart = sum(float((one[name] - other[name]).square().sum()) for name in floats)
    moved = sum(float((start[name] - other[name]).square().sum()) for name in floats)
    return (apart / moved) ** 0.5


def test_in_float32_an_epoch_is_that_of_a_plain_loop(ground_of, tmp_path):
    ground, _ = ground_of(config())
    assert ground.data.train.steps(32) == 16
    assert distance(engine_epoch(ground_of, tmp_path / "run"), plain_epoch(ground.data)) < 1e-4


def test_what_is_fast_changes_nothing_beyond_rounding(ground_of, tmp_path):
    plain = engine_epoch(ground_of, tmp_path / "plain", fast=False)
    fast = engine_epoch(ground_of, tmp_path / "fast")
    assert 0 < distance(fast, plain) < 1e-4


def test_on_a_cpu_images_and_weights_are_channels_last_unless_told_otherwise(ground_of, tmp_path):
    for options, layout in (({}, torch.channels_last), ({"fast": False}, torch.contiguous_format)):
        ground, runtime = ground_of(config(), **options)
        trainer = build_trainer(config(), ground, runtime, RunDirectory(tmp_path))
        weight = trainer.step.student.model.block1[0].conv1.weight
        assert ground.layout is layout
        assert weight.is_contiguous(memory_format=layout)
    seen = []
    trainer.advance = lambda part, _: seen.append(part.batch)
    pack = Pack(ground.fabric, [trainer], None, torch.channels_last)
    batch = next(ground.data.train.epoch(0, 1, 32))
    pack.step([trainer], replace(batch))
    assert seen[0].image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[0].image, batch.image)


def asked_by(trainer, look):
    """What the step has been asked once the method's losses call ``look`` on the progress."""
    ask = trainer.step.distiller.losses

    def losses(batch, student, teacher, progress):
        look(progress)
        return ask(batch, student, teacher, progress)

    trainer.step.distiller.losses = losses
    batch = next(trainer.data.train.epoch(0, 1, 32))
    logits = torch.zeros(32, trainer.data.num_classes)
    trainer.step(batch.label, batch.index, [(batch.image, logits)], (3, 9, 40, 16))
    trainer.step.distiller.losses = ask
    return trainer.step.asked


def test_what_a_method_asks_its_progress_is_noticed(ground_of):
    ground, runtime = ground_of(config())
    trainer = build_trainer(config(), ground, runtime, RunDirectory(Path("unused")))
    assert asked_by(trainer, lambda it: it.epochs * it.steps_per_epoch) == set()
    assert asked_by(trainer, lambda it: it.warmup(20)) == {("warmup", 20)}
    assert asked_by(trainer, lambda it: it.epoch) == {("warmup", 20), ("epoch",)}
    assert STEP not in trainer.step.asked
    assert STEP in asked_by(trainer, lambda it: it.step)
    asked = frozenset(trainer.step.asked)
    answered = answers(Progress(5, 9, 40, 16), asked)
    assert answered == frozenset({(("warmup", 20), 0.25), (("epoch",), 5), (("step",), 40)})


@dataclass
class Steps:
    """Trains with tapes in place of CUDA graphs, or without any."""

    ground_of: Any
    folder: Path
    patch: Any

    def train(self, name, recorder, method, stop_after=None, parts=None, **train):
        """The trainer after its epochs, or after so many steps; ``parts`` of the configuration."""
        self.patch.setattr("suite.train.build.replays", lambda *_: recorder is not None)
        self.patch.setattr("suite.device.graphs.record", recorder)
        wanted = config(**{"epochs": 4, "batch_size": 8, **train})
        fewer = wanted.data.model_copy(update={"train_limit": 60})
        student = wanted.student.model_copy(update={"name": "cifar_resnet8"})
        method = MethodSpec.model_validate(method)
        changes = {"data": fewer, "student": student, "method": method}
        wanted = wanted.model_copy(update=changes | (parts or {}))
        ground, runtime = self.ground_of(wanted)
        run = RunDirectory(self.folder / name)
        trainer = build_trainer(wanted, ground, runtime, run)
        run.path.mkdir(exist_ok=True)
        pack = Pack(ground.fabric, [trainer], ground.teacher, ground.layout)
        with suppress(Interrupted):
            pack.fit(lambda: trainer.position.step_in_epoch == stop_after, 1e9)
        assert not pack.failures
        return trainer


@pytest.fixture
def steps(ground_of, tmp_path, monkeypatch):
    return Steps(ground_of, tmp_path, monkeypatch)


def outcome(trainer):
    """Weights, statistics, and every row without what depends on time."""
    rows = [{**row, "seconds": None} for row in trainer.run.read_metrics()]
    return {name: it.clone() for name, it in trainer.step.state_dict().items()}, rows


def same(one, other):
    return one[1] == other[1] and all(torch.equal(one[0][name], other[0][name]) for name in one[0])


KD = {"name": "kd"}
DKD = {"name": "dkd", "options": {"warmup_epochs": 2}}
DSKD = {"name": "dskd", "options": {"hash_bits": 32}}


@pytest.mark.parametrize(("method", "recordings"), [(KD, 1), (DKD, 2), (DSKD, 1)])
def test_a_step_is_recorded_anew_only_when_the_method_is_told_something_else(
    steps, method, recordings
):
    """60 images in batches of 8: seven an epoch, and one of 4 that goes without."""
    recorder = TapeRecorder()
    eager, recorded = steps.train("eager", None, method), steps.train("tape", recorder, method)
    assert len(recorder.tapes) == recordings
    assert same(outcome(eager), outcome(recorded))


def test_of_a_step_in_parts_a_part_is_recorded_and_the_optimizer_is_not(steps):
    """60 images in batches of 8: parts of 4, and a last batch of 4 that is such a part, too."""
    recorder, settings = TapeRecorder(), {"accumulate": 2, "epochs": 2}
    eager = steps.train("eager", None, KD, **settings)
    recorded = steps.train("tape", recorder, KD, **settings)
    assert len(recorder.tapes) == 1
    assert not any("_fused" in str(function) for function, *_ in recorder.tapes[0].operations)
    assert same(outcome(eager), outcome(recorded))


OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": LR, "weight_decay": 5e-4},
    "adamw": {"name": "adamw", "lr": LR, "clip_grad_norm": 0.1},
    "lamb": {"name": "lamb", "lr": LR},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_recording_serves_all_learning_rates_with_the_optimizer_in_it_if_it_is_fused(
    steps, name
):
    """The rate is halved after each epoch; timm's LAMB has no fused kernel and stays outside."""
    halved = ScheduleConfig(name="multistep", milestones=(1, 2, 3), decay_rate=0.5)
    parts = {"optimizer": OptimizerConfig(**OPTIMIZERS[name]), "schedule": halved}
    recorder = TapeRecorder()
    eager = steps.train("eager", None, KD, parts=parts)
    recorded = steps.train("tape", recorder, KD, parts=parts)
    assert [row["lr"] for row in recorded.run.read_metrics()] == [LR, LR / 2, LR / 4, LR / 8]
    assert len(recorder.tapes) == 1
    in_tape = any("_fused" in str(function) for function, *_ in recorder.tapes[0].operations)
    assert in_tape == recorded.updates.in_recording == (name != "lamb")
    assert same(outcome(eager), outcome(recorded))


def test_a_run_resumed_at_the_short_batch_of_an_epoch_records_the_full_one(steps):
    recorder = TapeRecorder()
    steps.train("run", None, KD, stop_after=7, epochs=2)
    resumed = steps.train("run", recorder, KD, epochs=2)
    assert len(recorder.tapes) == 1
    assert same(outcome(resumed), outcome(steps.train("unbroken", None, KD, epochs=2)))


@pytest.mark.parametrize("share", [0.2, 0.95])
def test_after_a_recording_that_fails_halfway_steps_are_eager_ones(steps, share, caplog):
    """At 0.95 it fails in the backward pass, where some gradients are there and some not."""
    whole = TapeRecorder()
    steps.train("whole", whole, DSKD, epochs=1)
    failing = TapeRecorder(fail_after=round(share * len(whole.tapes[0].operations)))
    eager = steps.train("eager", None, DSKD, epochs=1)
    failed = steps.train("failed", failing, DSKD, epochs=1)
    assert "not permitted when stream is capturing" in caplog.text
    assert same(outcome(eager), outcome(failed))


def test_terms_are_returned_without_their_graph(steps):
    trainer = steps.train("run", None, KD, stop_after=1, epochs=1)
    seen = []
    trainer.begin()
    trainer._meter.add = lambda figures: seen.append(figures.values)
    batch = next(trainer.data.train.epoch(0, 1, 8))
    trainer.advance(MicroBatch(batch), Outputs(torch.zeros(8, trainer.data.num_classes)))
    assert len(seen) == 1
    assert not seen[0].requires_grad


def test_a_run_that_began_on_a_gpu_goes_on_without_one(steps, monkeypatch, caplog):
    """There, random states have 16 bytes, torch has one global stream more, all tensors a place."""
    begun = steps.train("run", None, DSKD, stop_after=7, epochs=2)
    state = checkpoint.load(begun.run)
    on_gpu = torch.zeros(16, dtype=torch.uint8)
    state |= {"method_stream": on_gpu, "global_streams": [*state["global_streams"], on_gpu[None]]}
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        checkpoint.save(begun.run, state)
        checkpoint.save(begun.run, state)
    resumed = steps.train("run", None, DSKD, epochs=2)
    assert resumed.done
    assert "another kind of device" in caplog.text
