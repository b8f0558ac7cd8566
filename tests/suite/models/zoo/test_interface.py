"""The CIFAR networks are timm classifiers, for 32x32 images and for small grey ones."""

import functools

import pytest
import timm
import torch
from timm.data import resolve_data_config
from torch import nn

import suite.models.zoo  # noqa: F401
from suite.interface.taps import TappedModel

FAMILIES = (
    "cifar_resnet8",
    "cifar_wrn_16_1",
    "cifar_vgg8",
    "cifar_mobilenet_v2",
    "cifar_shufflenet_v1",
    "cifar_shufflenet_v2",
    "cifar_resnet50",
)


@pytest.fixture(params=FAMILIES)
def network(request):
    torch.manual_seed(0)
    return timm.create_model(request.param, num_classes=10).eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_features_and_head_make_the_forward_pass(network, image):
    features = network.forward_features(image)
    torch.testing.assert_close(network.forward_head(features), network(image))
    pooled = network.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, network.num_features)
    torch.testing.assert_close(network.get_classifier()(pooled), network(image))


@torch.no_grad()
def test_intermediates_are_the_outputs_of_the_stages_in_feature_info(network, image):
    last, maps = network.forward_intermediates(image)
    torch.testing.assert_close(last, network.forward_features(image))
    x = image
    for info, stage_map in zip(network.feature_info, maps, strict=True):
        x = network.get_submodule(info["module"])(x)
        torch.testing.assert_close(stage_map, x)
        assert stage_map.shape[1:] == (info["num_chs"], *[32 // info["reduction"]] * 2)


@torch.no_grad()
def test_intermediates_can_be_chosen_by_position_or_number(network, image):
    everything = network.forward_intermediates(image, intermediates_only=True)
    for indices, expected in [
        (2, everything[-2:]),
        ([0, 2], everything[0:3:2]),
        ([-1], [everything[-1]]),
    ]:
        chosen = network.forward_intermediates(
            image, indices=indices, intermediates_only=True, stop_early=True
        )
        for one, other in zip(chosen, expected, strict=True):
            torch.testing.assert_close(one, other)
    with pytest.raises(AssertionError, match="out of range"):
        network.forward_intermediates(image, indices=[9])
    with pytest.raises(ValueError, match="output_fmt 'NLC': only 'NCHW' is allowed"):
        network.forward_intermediates(image, output_fmt="NLC")


@torch.no_grad()
def test_norm_closes_the_last_stage(network, image):
    last, maps = network.forward_intermediates(image, norm=True)
    torch.testing.assert_close(maps[-1], last)


@torch.no_grad()
def test_the_classifier_can_be_replaced_or_removed(network, image):
    network.reset_classifier(7)
    assert network(image).shape == (2, 7)
    network.reset_classifier(0)
    assert network(image).shape == (2, network.num_features)
    network.reset_classifier(0, global_pool="")
    torch.testing.assert_close(network(image), network.forward_features(image))
    network.reset_classifier(5, global_pool="max")
    pooled = network.forward_head(network.forward_features(image), pre_logits=True)
    torch.testing.assert_close(pooled, network.forward_features(image).amax((2, 3)))


@pytest.mark.parametrize("name", timm.list_models("cifar_*"))
def test_small_grey_images_go_through_and_the_head_pools_linearly(name):
    network = TappedModel(timm.create_model(name, num_classes=10, in_chans=1), (1, 8, 8))
    assert network(torch.zeros(2, 1, 8, 8)).logits.shape == (2, 10)
    assert network.head.pools_linearly


def test_every_parameter_gets_a_gradient(network, image):
    network.train()(image).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_dropout_acts_on_the_pooled_feature_in_training_only():
    network = timm.create_model("cifar_resnet8", drop_rate=0.5)
    pooled = network.train().forward_head(torch.ones(1, 64, 8, 8), pre_logits=True)
    assert set(pooled.unique().tolist()) == {0.0, 2.0}
    pooled = network.eval().forward_head(torch.ones(1, 64, 8, 8), pre_logits=True)
    assert pooled.unique().tolist() == [1.0]


def test_a_vgg_has_the_widths_that_it_is_given():
    network = timm.create_model("cifar_vgg8", widths=(8, 16, 16, 32, 32), num_classes=10)
    shapes = [stage["num_chs"] for stage in network.feature_info]
    assert shapes[-5:] == [8, 16, 16, 32, 32]
    with pytest.raises(ValueError, match=r"^widths \[8, 16\]: one for each of the 5 blocks$"):
        timm.create_model("cifar_vgg8", widths=(8, 16))


def test_widths_make_smaller_students():
    network = timm.create_model("cifar_resnet8", widths=(4, 4, 8, 16), num_classes=10)
    assert [info["num_chs"] for info in network.feature_info] == [4, 4, 8, 16]
    assert network.num_features == 16


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"widths": (4, 8)}, r"widths \(4, 8\): must be 4 numbers"),
        ({"pretrained": True}, "cifar_resnet8 has no pretrained weights"),
    ],
)
def test_a_wrong_option_is_refused(options, error):
    with pytest.raises(ValueError, match=error):
        timm.create_model("cifar_resnet8", **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="wings"):
        timm.create_model("cifar_vgg8", wings=2)


def test_timm_resolves_size_and_normalisation(network):
    config = resolve_data_config(model=network)
    assert config["input_size"] == (3, 32, 32)
    assert config["mean"] == (0.5071, 0.4867, 0.4408)
    assert config["std"] == (0.2675, 0.2565, 0.2761)


def test_registering_touches_no_module_but_the_zoos():
    assert not [name for name in functools.__all__ if name.startswith("cifar")]
    assert timm.models.is_model_in_modules("cifar_vgg8", {"vgg"})


def test_initialisation_is_the_references():
    torch.manual_seed(0)
    for name, layer, inside in [
        ("cifar_resnet32x4", "layer3.1.conv1", 256),
        ("cifar_wrn_40_2", "block3.1.conv1", 128),
        ("cifar_vgg8", "block4.layers.0", 512),
    ]:
        weight = timm.create_model(name).get_submodule(layer).weight
        assert weight.std().item() == pytest.approx((2 / (9 * inside)) ** 0.5, rel=0.01)
    for name in ("cifar_vgg8", "cifar_mobilenet_v2"):
        classifier = timm.create_model(name).get_classifier()
        assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not classifier.bias.any()
    weight = timm.create_model("cifar_shufflenet_v2").get_submodule("layer3.0.conv2").weight
    bound = 232**-0.5  # PyTorch's default: uniform within 1 / sqrt(fan-in)
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.01)


def test_only_linear_layers_and_convolutions_of_vgg_have_biases():
    for name in FAMILIES:
        convolutions = [
            module
            for module in timm.create_model(name).modules()
            if isinstance(module, nn.Conv2d) and module.bias is not None
        ]
        assert bool(convolutions) == (name == "cifar_vgg8")
