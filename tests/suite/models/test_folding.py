"""A folded network says what the network says, at every tap."""

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

import suite.models.zoo  # noqa: F401  (registers the CIFAR networks in timm)
from suite.interface.taps import TappedModel
from suite.models.folding import folded

NORMS = (nn.BatchNorm2d, BatchNormAct2d)


def network(name, size=32):
    """A network whose normalisations are far from the identity they start as."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10)
    for module in model.modules():
        if isinstance(module, NORMS):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return TappedModel(model, (3, size, size)).eval().requires_grad_(False)


def norms(network):
    return sum(isinstance(module, NORMS) for module in network.model.modules())


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("cifar_resnet8x4", 0),
        ("cifar_wrn_16_2", 7),  # 6 before the first convolution of a block, and the last
        ("cifar_vgg8", 0),
        ("cifar_mobilenet_v2", 0),
        ("cifar_shufflenet_v1", 0),
        ("cifar_shufflenet_v2", 0),
        ("resnetv2_50", 17),  # 16 that open a pre-activation block, and the last
        ("efficientnet_b0", 0),
        ("vit_tiny_patch16_224", 0),
    ],
)
def test_every_tap_stays_and_what_can_be_folded_is(name, left):
    size = 224 if name.startswith("vit") else 32
    plain = network(name, size)
    before = {key: value.clone() for key, value in plain.state_dict().items()}
    quick = folded(plain)
    image = torch.randn(4, 3, size, size)
    expected, found = plain(image, list(plain.shapes)), quick(image, list(plain.shapes))
    for tap in plain.shapes:
        size_of = expected[tap].abs().max().item()
        torch.testing.assert_close(found[tap], expected[tap], rtol=0, atol=1e-5 * size_of, msg=tap)
    assert norms(quick) == left
    assert all(torch.equal(value, before[key]) for key, value in plain.state_dict().items())


class TwoReaders(nn.Module):
    """The convolution's output is read by the normalisation and added again."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


class Twice(nn.Module):
    """One convolution before two normalisations."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])

    def forward(self, x):
        for norm in self.norms:
            x = norm(self.conv(x))
        return x


@pytest.mark.parametrize("block", [TwoReaders, Twice])
def test_what_something_else_reads_is_not_folded(block):
    model = timm.create_model("cifar_resnet8x4", num_classes=10)
    model.stem = nn.Sequential(block(), nn.LazyConv2d(32, 1))
    model(torch.randn(2, 3, 32, 32))
    plain = TappedModel(model, (3, 32, 32)).eval()
    assert norms(folded(plain)) == sum(isinstance(it, NORMS) for it in block().modules())
