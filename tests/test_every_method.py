"""The contract: what holds for every method file, on pairs of every kind."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from contract_networks import VIT
from method_setup import make_batch, make_setup

import baselines
from suite import methods
from suite.interface import testing
from suite.interface.distiller import UnsupportedPair

PAIRS = {
    "cnn-cnn": partial(make_setup, "cifar_resnet8", "cifar_resnet8x4"),
    "cnn-vit": partial(make_setup, "vit_tiny_patch16_224", "cifar_resnet8", student_options=VIT),
    "convnext-mixer": partial(make_setup, "contract_mixer", "test_convnext"),
    "vit-cnn": partial(make_setup, "cifar_resnet8", "vit_tiny_patch16_224", teacher_options=VIT),
}


@pytest.mark.parametrize("name", methods.names())
def test_the_configuration_is_closed_and_frozen(name):
    testing.config_is_closed_and_frozen(methods.find(name))


def refusal_of(method, setup):
    """Why the method cannot work on the pair; None when it can."""
    try:
        testing.Bench.of(method, setup)
    except UnsupportedPair as reason:
        return str(reason)
    return None


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", methods.names())
def test_contract(name, pair, check):
    method, setup = methods.find(name), PAIRS[pair]
    refusal = refusal_of(method, setup)
    if refusal is not None:
        assert "\n" not in refusal
        assert len(refusal) > 20
        return
    check(method, setup, make_batch(setup()))


@pytest.mark.parametrize("name", methods.names())
def test_every_method_works_between_convolutional_networks(name):
    testing.Bench.of(methods.find(name), PAIRS["cnn-cnn"])


def test_a_copy_of_the_template_is_a_method_without_any_other_edit(tmp_path, monkeypatch):
    shutil.copy(Path(baselines.__path__[0]) / "_template.py", tmp_path / "mymethod.py")
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    assert "mymethod" in methods.names()
    method = methods.find("mymethod")
    testing.config_is_closed_and_frozen(method)
    setup = PAIRS["cnn-cnn"]
    for check in testing.CHECKS:
        check(method, setup, make_batch(setup()))
