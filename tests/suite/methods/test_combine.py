"""Combinations of methods: the sum of their terms, with the labels counted once."""

from functools import partial

import pytest
import torch
from method_setup import make_batch, make_progress, make_setup, run_both
from pydantic import ValidationError

from suite import methods
from suite.cli.catalogue import catalogue
from suite.config import MethodSpec
from suite.interface import testing
from suite.interface.distiller import UnsupportedPair
from suite.methods import UnknownMethod
from sweeps.plan import overrides
from sweeps.plan.expand import expand

PAIR = partial(make_setup, "cifar_resnet8", "cifar_resnet8x4")


def build(name, **options):
    setup, method = PAIR(), methods.find(name)
    return setup, method(method.Config.model_validate(options), setup)


def test_terms_are_those_of_the_parts_and_the_labels_count_once():
    setup, both = build("dkd+at", at={"at_weight": 10.0})
    batch = make_batch(setup)
    outputs = run_both(setup, both, batch)
    terms = both.losses(batch, *outputs, make_progress())
    alone = {}
    for name, options in (("dkd", {}), ("at", {"at_weight": 10.0})):
        method = methods.find(name)
        part = method(method.Config.model_validate(options), setup)
        alone |= part.losses(batch, *outputs, make_progress())
    assert terms["ce"].item() == pytest.approx(alone["ce"].item())  # of dkd; at's has weight 0
    assert set(terms) == set(alone)
    for name, term in alone.items():
        assert terms[name].item() == pytest.approx(term.item()), name


def test_further_label_weights_can_be_asked_for_and_add_up():
    setup, both = build("dkd+kd", kd={"ce_weight": 0.5})
    batch = make_batch(setup)
    outputs = run_both(setup, both, batch)
    found = both.losses(batch, *outputs, make_progress())["ce"]
    want = 1.5 * torch.nn.functional.cross_entropy(outputs[0].logits, batch.label)
    assert found.item() == pytest.approx(want.item())


def test_options_are_complete_closed_and_survive_json():
    spec = MethodSpec(name="crd+kd", options={"kd": {"temperature": 2.0}})
    assert spec.options["kd"] == {"temperature": 2.0, "ce_weight": 0.0, "kd_weight": 0.9}
    assert spec.options["crd"]["ce_weight"] == 1.0
    assert MethodSpec.model_validate(spec.model_dump(mode="json")) == spec
    with pytest.raises(ValidationError, match=r"kd\.temp"):
        MethodSpec(name="crd+kd", options={"kd": {"temp": 2.0}})


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["crd+kd", "dskd+kd", "simkd+kd"])
def test_a_combination_keeps_the_contract(name, check):
    check(methods.find(name), PAIR, make_batch(PAIR()))


def test_the_part_that_ships_a_network_of_its_own_decides_what_is_deployed():
    setup, both = build("kd+simkd")
    assert both.deploy(setup.student) is not setup.student.model
    setup, both = build("kd+at")
    assert both.deploy(setup.student) is setup.student.model
    with pytest.raises(UnsupportedPair, match="simkd and lshfm each deploy a network of their own"):
        build("simkd+lshfm")


def test_names_are_checked():
    with pytest.raises(UnknownMethod, match="unknown method 'kdd'"):
        methods.find("crd+kdd")
    with pytest.raises(UnknownMethod, match="names a part twice"):
        methods.find("kd+kd")


def test_a_recipes_options_for_the_parts_reach_the_combination():
    plan = expand("crd_table1", ["methods=[crd,crd+kd] seeds=[0] crd+kd.kd.temperature=2"])
    spec = next(cell.spec for cell in plan.cells if cell.spec.label == "crd+kd")
    options = spec.config.method.options
    assert options["kd"] == {"temperature": 2.0, "ce_weight": 0.0, "kd_weight": 1.0}
    assert options["crd"]["ce_weight"] == 1.0
    assert options["crd"]["negatives"] == 16384


def test_overrides_of_a_part_are_checked():
    assert overrides.read(["crd+kd.kd.temperature=2"])[1] == {"crd+kd": {"kd": {"temperature": 2}}}
    with pytest.raises(Exception, match="field 'temp'"):
        overrides.read(["crd+kd.kd.temp=2"])


def test_the_catalogue_counts_what_a_method_trains_and_deploys():
    found = {entry.name: entry for entry in catalogue(["scratch", "kd", "simkd", "fitnet"])}
    assert found["scratch"].needs == "no teacher"
    assert found["kd"].needs == "teacher: logits; student: logits"
    assert "stage2" in found["fitnet"].needs
    assert (found["kd"].train_parameters, found["kd"].deploy_parameters) == (0, 0)
    projector = 64 * 64 + 9 * 64 * 64 + 64 * 128 + 2 * (64 + 64 + 128)
    classifiers = 128 * 100 + 100 - (64 * 100 + 100)
    assert found["simkd"].deploy_parameters == projector + classifiers
