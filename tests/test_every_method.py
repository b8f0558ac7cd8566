"""The contract: what holds for every method file, on pairs of every kind."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from contract_networks import VIT
from method_setup import make_batch, make_setup

import baselines
from suite import methods
from suite.interface import testing
from suite.interface.distiller import Reads, UnsupportedPair
from suite.interface.errors import UserError
from suite.interface.rng import seeded_globals

PAIRS = {
    "cnn-cnn": partial(make_setup, "cifar_resnet8", "cifar_resnet8x4", image_size=16),
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


SLOW = (testing.a_step_works_on_a_gpu_that_is_not_there, testing.training_lowers_the_loss)
CASES = [
    pytest.param(pair, check, id=f"{pair}-{check.__name__}", marks=marks)
    for pair in PAIRS
    for check in testing.CHECKS
    for marks in [[pytest.mark.modes] if check in SLOW and pair != "cnn-cnn" else []]
]
"""On other pairs than of CNNs the slowest checks are part of `make test-modes`."""


@pytest.mark.parametrize(("pair", "check"), CASES)
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


READ_LESS = {
    "srd": {"kd_weight": 0},
    "vkd": {"kd_weight": 0},
    "diffkd": {"places": ["map"]},
    "lshfm": {"variant": "lsh", "hash_std": 1.0},
}
"""Options with which methods read features alone, which by default read logits too."""


NO_FEATURES = {"wkd_l": {"costs": "logits"}, "diffkd": {"places": ["logits"]}}
"""Options with which methods read logits alone, which by default read features too."""


@pytest.mark.parametrize("reading", testing.WITHOUT)
@pytest.mark.parametrize("options", [{}, READ_LESS, NO_FEATURES])
@pytest.mark.parametrize("name", methods.names())
def test_who_declares_a_reading_cannot_do_without_and_others_can(name, options, reading):
    method, given = methods.find(name), options.get(name, {})
    if not method.uses_teacher or (options and not given):
        return
    config = method.Config.model_validate(given)
    reads = method.reads_with(config)
    if given:
        assert reads == (Reads.FEATURES if options is READ_LESS else Reads.LOGITS)

    def losses(setup):
        with seeded_globals(0, "contract"):
            bench = testing.Bench(setup, method(config, setup))
        return bench.losses(make_batch(setup))

    setup = PAIRS["cnn-cnn"]
    expected = losses(setup())
    try:
        found = losses(testing.with_teacher(setup(), testing.WITHOUT[reading]))
    except (RuntimeError, LookupError, ArithmeticError, AttributeError, UserError):
        assert reading in reads
        return
    same = all(torch.equal(expected[term], found[term]) for term in expected)
    assert same == (reading not in reads)


@pytest.mark.parametrize("name", methods.names())
def test_two_classes_are_enough(name):
    """Among one class beside the target there is nothing to compare: DKD's NCKD is 0, not NaN."""
    setup = partial(make_setup, "cifar_resnet8", "cifar_resnet8x4", num_classes=2)
    testing.losses_are_finite_scalars_that_reach_the_student(
        methods.find(name), setup, make_batch(setup())
    )


def test_a_copy_of_the_template_is_a_method_without_any_other_edit(tmp_path, monkeypatch):
    shutil.copy(Path(baselines.__path__[0]) / "_template.py", tmp_path / "mymethod.py")
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    assert "mymethod" in methods.names()
    method = methods.find("mymethod")
    testing.config_is_closed_and_frozen(method)
    setup = PAIRS["cnn-cnn"]
    for check in testing.CHECKS:
        check(method, setup, make_batch(setup()))


@pytest.mark.parametrize("name", methods.names())
def test_mixed_labels_count_in_the_cross_entropy_and_sharp_ones_are_the_labels(name):
    method, setup = methods.find(name), PAIRS["cnn-cnn"]
    bench = testing.Bench.of(method, setup)
    batch = bench.with_views(make_batch(setup()))
    sharp = (batch.label[:, None] == torch.arange(bench.setup.num_classes)).float()
    plain, same, other = (
        testing.Bench.of(method, setup).losses(replace(batch, target=target))
        for target in (None, sharp, 0.7 * sharp + 0.3 / bench.setup.num_classes)
    )
    for term, value in plain.items():
        torch.testing.assert_close(same[term], value, rtol=1e-5, atol=1e-6)
        assert torch.isfinite(other[term])
    assert all(not torch.equal(plain[term], other[term]) for term in method.task_terms)
