"""The engine's fast paths train what a plain loop trains."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from torch.nn import functional

from suite.build import Ground, build_trainer, make_fabric
from suite.config import RunConfig, Runtime, parse
from suite.data import load
from suite.models import create
from suite.pack import Pack
from suite.record import RunDirectory
from suite.rng import seeded_globals

STUDENT = {"name": "cifar_wrn_16_1"}
TEACHER = {"name": "cifar_wrn_16_2"}
TEMPERATURE = 4.0
LR = 0.001  # at 0.05 rounding grows to some thousandths within the epoch, from any two orders


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
        network = create(config().teacher, data.num_classes, data.image_shape)
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
    trainer.advance = lambda batch, outputs: seen.append((batch, outputs))
    pack = Pack(ground.fabric, [trainer], None, torch.channels_last)
    batch = next(ground.data.train.epoch(0, 1, 32))
    pack.step([trainer], replace(batch))
    assert seen[0][0].image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen[0][0].image, batch.image)


def test_a_method_that_reads_the_step_is_noticed_and_one_that_reads_the_epoch_is_not(ground_of):
    ground, runtime = ground_of(config())
    trainer = build_trainer(config(), ground, runtime, RunDirectory(Path("unused")))
    batch = next(ground.data.train.epoch(0, 1, 32))
    ask = trainer.step.distiller.losses
    logits = torch.zeros(32, ground.data.num_classes)

    def losses_that_look_at(field):
        def losses(batch, student, teacher, progress):
            getattr(progress, field)
            return ask(batch, student, teacher, progress)

        trainer.step.distiller.losses = losses
        trainer.step(batch.image, batch.label, batch.index, (3, 9, 40, 16), logits, {})
        return trainer.step.reads_step

    assert not losses_that_look_at("epoch")
    assert losses_that_look_at("step")
