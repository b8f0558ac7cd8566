"""Parameters, multiply-adds and stage shapes of the CIFAR networks, against published figures and
against arithmetic from the layer tables of the papers as RepDistiller has them."""

import pytest
import timm
import torch

import suite.models.zoo  # noqa: F401
from suite.interface.taps import TappedModel
from suite.models import count_macs, count_parameters

# name: parameters with 100 classes, multiply-adds of convolutions and the classifier at 32x32.
# Known in thousands or millions from the tables of CRD's follow-ups; here to the last digit.
SIZES = {
    "cifar_resnet8": (83_892, 12_507_392),
    "cifar_resnet14": (181_108, 26_663_168),
    "cifar_resnet20": (278_324, 40_818_944),
    "cifar_resnet32": (472_756, 69_130_496),
    "cifar_resnet44": (667_188, 97_442_048),
    "cifar_resnet56": (861_620, 125_753_600),
    "cifar_resnet110": (1_736_564, 253_155_584),
    "cifar_resnet8x4": (1_233_540, 177_071_104),
    "cifar_resnet32x4": (7_433_860, 1_083_040_768),
    "cifar_wrn_16_1": (180_916, 26_663_168),
    "cifar_wrn_16_2": (703_284, 101_118_464),
    "cifar_wrn_40_1": (569_780, 83_286_272),
    "cifar_wrn_40_2": (2_255_156, 327_610_880),
    "cifar_vgg8": (3_965_028, 96_192_512),
    "cifar_vgg11": (9_277_284, 209_438_720),
    "cifar_vgg13": (9_462_180, 284_936_192),
    "cifar_vgg16": (14_774_436, 398_182_400),
    "cifar_vgg19": (20_086_692, 511_428_608),
    "cifar_mobilenet_v2": (812_836, 6_523_648),
    "cifar_shufflenet_v1": (949_258, 38_691_456),
    "cifar_shufflenet_v2": (1_355_528, 44_504_448),
    "cifar_shufflenet_v2_x1_5": (2_580_548, 93_762_048),
    "cifar_resnet50": (23_705_252, 1_298_014_208),
}
CLASSES = 100


def conv(kernel, inputs, outputs, side, bias=0, norm=2):
    """(parameters, multiply-adds) of a convolution of ``inputs`` channels per group and its BN."""
    weights = kernel**2 * inputs * outputs
    return weights + (bias + norm) * outputs, weights * side**2


def linear(inputs):
    return (inputs + 1) * CLASSES, inputs * CLASSES


def resnet(depth, stem, *widths):
    yield conv(3, 3, stem, 32)
    channels = stem
    for width, side in zip(widths, (32, 16, 8), strict=True):
        for block in range((depth - 2) // 6):
            yield conv(3, channels, width, side)
            yield conv(3, width, width, side)
            if block == 0 and (channels != width or side != 32):
                yield conv(1, channels, width, side)
            channels = width
    yield linear(channels)


def wrn(depth, widen):
    yield conv(3, 3, 16, 32, norm=0)
    channels = 16
    for width, side in zip((16 * widen, 32 * widen, 64 * widen), (32, 16, 8), strict=True):
        for _ in range((depth - 4) // 6):
            yield 2 * channels + 2 * width, 0  # the two batch normalisations
            yield conv(3, channels, width, side, norm=0)
            yield conv(3, width, width, side, norm=0)
            if channels != width:
                yield conv(1, channels, width, side, norm=0)
            channels = width
    yield 2 * channels, 0
    yield linear(channels)


def vgg(*counts):
    channels = 3
    for count, width, side in zip(counts, (64, 128, 256, 512, 512), (32, 16, 8, 4, 4), strict=True):
        for _ in range(count):
            yield conv(3, channels, width, side, bias=1)
            channels = width
    yield linear(512)


def mobilenet_v2():
    yield conv(3, 3, 16, 16)
    channels, side = 16, 16
    for expansion, width, count, stride in (
        (1, 8, 1, 1),
        (6, 12, 2, 1),
        (6, 16, 3, 2),
        (6, 32, 4, 2),
        (6, 48, 3, 1),
        (6, 80, 3, 2),
        (6, 160, 1, 1),
    ):
        for block in range(count):
            inner = channels * expansion
            yield conv(1, channels, inner, side)
            side //= stride if block == 0 else 1
            yield conv(3, 1, inner, side)
            yield conv(1, inner, width, side)
            channels = width
    yield conv(1, 160, 1280, 2)
    yield linear(1280)


def shufflenet_v1():
    yield conv(1, 3, 24, 32)
    channels = 24
    for width, count, side in ((240, 4, 16), (480, 8, 8), (960, 4, 4)):
        for block in range(count):
            made = width - channels if block == 0 else width
            groups = 1 if channels == 24 else 3
            yield conv(1, channels // groups, made // 4, side * 2 if block == 0 else side)
            yield conv(3, 1, made // 4, side)
            yield conv(1, made // 4 // 3, made, side)
            channels = width
    yield linear(960)


def shufflenet_v2(*widths):
    yield conv(1, 3, 24, 32)
    channels = 24
    for width, count, side in zip(widths, (3, 7, 3), (16, 8, 4), strict=True):
        half = width // 2
        yield conv(3, 1, channels, side)
        yield conv(1, channels, half, side)
        yield conv(1, channels, half, side * 2)
        for _ in range(1 + count):
            yield conv(3, 1, half, side)
            yield conv(1, half, half, side)
        yield from [conv(1, half, half, side)] * count
        channels = width
    yield conv(1, channels, 1024, 4)
    yield linear(1024)


def resnet50():
    yield conv(3, 3, 64, 32)
    channels, side = 64, 32
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            before, side = side, side // 2 if block == 0 and width != 64 else side
            yield conv(1, channels, width, before)
            yield conv(3, width, width, side)
            yield conv(1, width, 4 * width, side)
            if block == 0:
                yield conv(1, channels, 4 * width, side)
            channels = 4 * width
    yield linear(2048)


LAYERS = {
    **{f"cifar_resnet{d}": resnet(d, 16, 16, 32, 64) for d in (8, 14, 20, 32, 44, 56, 110)},
    **{f"cifar_resnet{d}x4": resnet(d, 32, 64, 128, 256) for d in (8, 32)},
    **{f"cifar_wrn_{d}_{k}": wrn(d, k) for d in (16, 40) for k in (1, 2)},
    "cifar_vgg8": vgg(1, 1, 1, 1, 1),
    "cifar_vgg11": vgg(1, 1, 2, 2, 2),
    "cifar_vgg13": vgg(2, 2, 2, 2, 2),
    "cifar_vgg16": vgg(2, 2, 3, 3, 3),
    "cifar_vgg19": vgg(2, 2, 4, 4, 4),
    "cifar_mobilenet_v2": mobilenet_v2(),
    "cifar_shufflenet_v1": shufflenet_v1(),
    "cifar_shufflenet_v2": shufflenet_v2(116, 232, 464),
    "cifar_shufflenet_v2_x1_5": shufflenet_v2(176, 352, 704),
    "cifar_resnet50": resnet50(),
}

# stage maps (channels, side) as the feature lists of RepDistiller's and mdistiller's models
FEATURES = {
    "cifar_resnet20": [(16, 32), (16, 32), (32, 16), (64, 8)],
    "cifar_resnet8x4": [(32, 32), (64, 32), (128, 16), (256, 8)],
    "cifar_wrn_16_2": [(16, 32), (32, 32), (64, 16), (128, 8)],
    "cifar_vgg8": [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)],
    "cifar_mobilenet_v2": [(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)],
    "cifar_shufflenet_v1": [(24, 32), (240, 16), (480, 8), (960, 4)],
    "cifar_shufflenet_v2": [(24, 32), (116, 16), (232, 8), (464, 4)],
    "cifar_resnet50": [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)],
}
POOLED = {"cifar_mobilenet_v2": 1280, "cifar_shufflenet_v2": 1024}  # else the last stage's width


def test_the_zoo_has_every_network_of_the_protocol():
    assert set(timm.list_models("cifar_*")) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_parameters_and_multiply_adds_are_the_known_ones(name):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=CLASSES)
    assert (count_parameters(network), count_macs(network, (3, 32, 32))) == SIZES[name]


@pytest.mark.parametrize("name", SIZES)
def test_the_known_figures_follow_from_the_layer_tables(name):
    parameters, macs = zip(*LAYERS[name], strict=True)
    assert (sum(parameters), sum(macs)) == SIZES[name]


@pytest.mark.parametrize("name", FEATURES)
def test_stage_taps_are_the_reference_feature_list(name):
    network = TappedModel(timm.create_model(name), (3, 32, 32))
    shapes = [network.shapes[stage] for stage in network.stages]
    assert shapes == [(channels, side, side) for channels, side in FEATURES[name]]
    assert network.shapes["pooled"] == (POOLED.get(name, FEATURES[name][-1][0]),)


@pytest.mark.parametrize("name", FEATURES)
def test_feature_info_tells_channels_and_reduction_of_each_stage(name):
    with torch.device("meta"):
        info = timm.create_model(name).feature_info
    assert [(i["num_chs"], 32 // i["reduction"]) for i in info] == FEATURES[name]
