"""Taps: the same names on every kind of network, and what each of them holds."""

import pytest
import torch
from method_setup import make_model

from suite.interface.rng import generator
from suite.interface.taps import TappedModel, UnsupportedModel
from suite.interface.testing import without_classifier

NETWORKS = ("cifar_resnet8", "cifar_wrn_16_2", "test_resnet", "test_vit", "test_convnext")


def images(network, count=2):
    return torch.randn(count, *network.image_shape, generator=generator(0, "taps"))


def awake(network):
    """BN layers that start at 0 (timm's residual branches) at 1, so that signs are mixed."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(1.0)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tap_has_the_shape_it_announces(name):
    network = make_model(name).eval()
    outputs = network(images(network), tuple(network.shapes))
    assert {tap: tuple(outputs[tap].shape[1:]) for tap in network.shapes} == network.shapes


@pytest.mark.parametrize("name", NETWORKS)
def test_taps_do_not_change_the_logits_nor_each_other(name):
    network = make_model(name).eval()
    image = images(network)
    plain = network.model(image)
    everything = network(image, tuple(network.shapes))
    assert torch.allclose(everything.logits, plain, atol=1e-5)
    for tap in network.shapes:
        assert torch.allclose(network(image, (tap,))[tap], everything[tap], atol=1e-5), tap


@pytest.mark.parametrize("name", NETWORKS)
def test_the_pooled_feature_is_what_the_classifier_reads(name):
    network = make_model(name).eval()
    outputs = network(images(network), ("pooled",))
    assert torch.allclose(network.head.from_pooled(outputs["pooled"]), outputs.logits, atol=1e-5)


@pytest.mark.parametrize("name", [*NETWORKS, "mobilenetv3_small_050", "test_efficientnet"])
def test_without_a_classifier_all_features_are_as_before_and_there_are_no_logits(name):
    whole = make_model(name, seed=1).eval()
    bare = without_classifier(whole)
    assert (whole.has_classifier, bare.has_classifier) == (True, False)
    taps = [tap for tap in whole.shapes if tap != "logits"]
    expected, found = whole(images(whole), taps), bare(images(whole), taps)
    assert all(torch.equal(expected[tap], found[tap]) for tap in taps)
    assert bare.shapes == {**whole.shapes, "logits": (0,)}
    assert found.logits.shape == (2, 0)
    assert not bare.head.pools_linearly
    with pytest.raises(UnsupportedModel, match="needs one linear classifier, has Identity"):
        _ = bare.classifier


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_vgg8", "cifar_resnet50", "resnet18"])
def test_a_stage_is_the_relu_of_its_preactivation(name):
    """timm's resnet18 activates in place: the preactivation is kept before it is overwritten."""
    network = awake(make_model(name))
    for stage in network.stages:
        outputs = network(images(network), (stage, f"{stage}_preact"))
        before = outputs[f"{stage}_preact"]
        assert (before < 0).any()
        assert torch.equal(before.relu(), outputs[stage])


def test_a_network_that_activates_first_has_its_stages_normalised():
    """RepDistiller's preactivations of a wide ResNet: the BN that reads the stage's map."""
    network = awake(make_model("cifar_wrn_16_2"))
    taps = ("stage1", "stage1_preact", "stage3", "stage3_preact", "map")
    outputs = network(images(network), taps)
    inner = network.model.block2[0].bn1
    assert torch.allclose(inner(outputs["stage1"]), outputs["stage1_preact"], atol=1e-6)
    assert torch.allclose(outputs["stage3_preact"].relu(), outputs["map"], atol=1e-6)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "cifar_mobilenet_v2"])
def test_without_a_last_activation_the_preactivation_is_the_stage(name):
    network = make_model(name).eval()
    last = network.stages[-1]
    outputs = network(images(network), (last, f"{last}_preact"))
    assert torch.equal(outputs[last], outputs[f"{last}_preact"])


def test_gradients_flow_through_taps():
    network = make_model("cifar_resnet8")
    outputs = network(images(network), ("stage2_preact", "pooled"))
    (outputs["stage2_preact"].sum() + outputs["pooled"].sum()).backward()
    assert network.model.stem[0].weight.grad.abs().sum() > 0


def test_no_hook_stays_behind():
    network = make_model("cifar_resnet8")
    network(images(network), tuple(network.shapes))
    with pytest.raises(UnsupportedModel, match="no tap 'stage7', only stage0, "):
        network(images(network), ("stage7",))
    hooks = [
        hook
        for module in network.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
    assert hooks == []


def test_a_network_without_timms_interface_is_refused():
    with pytest.raises(UnsupportedModel, match="Linear is no timm classifier"):
        TappedModel(torch.nn.Linear(2, 2), (3, 8, 8))
