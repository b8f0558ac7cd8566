"""Recipes of today: each expands to what its source says, and a step of it trains."""

import math
from pathlib import Path

import pytest

from suite.config import Runtime
from suite.data import load
from suite.store.record import RunDirectory
from suite.train.build import Ground, build_trainer, make_fabric
from suite.train.pack import Pack
from sweeps.plan.expand import expand

RECIPES = {  # recipe -> pair, optimizer, rate, batch, epochs
    "imagenet_dist": ("resnet34/resnet18", "sgd", 0.1, 256, 100),
    "imagenet_dist_b2": ("resnet50/resnet18", "rmsproptf", 0.048, 768, 450),
    "imagenet_dist_b3": ("swin_large/swin_tiny", "adamw", 1e-3, 1024, 300),
    "imagenet_deit": ("resnet50.a1_in1k/deit_tiny_patch16_224", "adamw", 5e-4, 1024, 300),
    "imagenet_vanillakd": ("resnet152.a1_in1k/resnet50", "lamb", 5e-3, 2048, 300),
}
SMALL = (
    "data.name=fake data.train_limit=8 data.eval_splits=[test] pairs=[cifar_resnet8/cifar_resnet8] "
    "batch_size=8 epochs=1 train.precision=32-true"
)
TEXT = """\
# One pair.
recipe: {recipe}
pairs: [{pair}]
methods: [scratch, kd]
seeds: [0]
"""
TEACHERS = {"imagenet_deit": "resnet50.a1_in1k", "imagenet_vanillakd": "resnet152.a1_in1k"}
"""Where the recipe names none."""


def configs(recipe, folder, *settings):
    pair = RECIPES[recipe][0]
    path = folder / "mine.yaml"
    text = TEXT.format(recipe=recipe, pair=pair)
    if recipe in TEACHERS and not settings:
        text += f'models: {{"{TEACHERS[recipe]}": {{pretrained: true}}}}\n'
    path.write_text(text)
    return [spec.config for spec in expand(str(path), settings).runs]


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_expands_to_the_numbers_of_its_source(recipe, tmp_path):
    students = configs(recipe, tmp_path)
    assert [it.method.name for it in students] == ["scratch", "kd"]
    _, optimizer, lr, batch, epochs = RECIPES[recipe]
    for config in students:
        found = config.optimizer
        assert (found.name, found.lr, found.decay_norm_and_bias) == (optimizer, lr, False)
        assert (config.train.batch_size, config.train.epochs) == (batch, epochs)
        assert config.data.train_split == "trainval"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_of_it_trains(recipe, tmp_path):
    config = configs(recipe, tmp_path, SMALL)[-2]
    assert config.method.name == "scratch"
    runtime = Runtime(accelerator="cpu", threads=1, tracker="none", fast=False)
    ground = Ground.on(
        config, runtime, make_fabric(config, runtime), load(config.data, Path()), None
    )
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    trainer = build_trainer(config, ground, runtime, run)
    before = [it.detach().clone() for it in trainer.step.student.parameters()]
    pack = Pack(ground.fabric, [trainer], None, ground.layout)
    pack.fit(lambda: False, 1e9)
    assert not pack.failures
    (row,) = run.read_metrics()
    assert math.isfinite(row["train/loss"])
    after = trainer.step.student.parameters()
    assert all((one != two).any() for one, two in zip(before, after, strict=True) if one.ndim > 1)
