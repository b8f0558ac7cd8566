"""A convolution whose gradient overwrites memory on CPUs with AVX2 is computed another way."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from suite.device import faulty_kernels

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
DIES = """
import torch
from suite.device import faulty_kernels
layer = torch.nn.Conv2d(4, 8, 1, stride=2, bias=False).to(memory_format=torch.channels_last)
faulty_kernels.avoid(layer, torch.device("cpu"))
images = torch.randn(32, 4, 16, 16).contiguous(memory_format=torch.channels_last)
for _ in range(20):
    layer(images).sum().backward()
    numbers = [torch.randn(1000) for _ in range(50)]
"""


def gradients(network, images):
    """Output, and gradient of images and weights."""
    images = images.clone(memory_format=torch.preserve_format).requires_grad_()
    out = network(images)
    out.square().sum().backward()
    return [out.detach(), images.grad, *(weight.grad for weight in network.parameters())]


@pytest.fixture
def on_avx2(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.mark.usefixtures("on_avx2")
@pytest.mark.parametrize("stride", [2, (2, 1), 3])
def test_it_is_the_same_function_with_the_same_weights(stride):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1, stride=stride))
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    faulty_kernels.avoid(other, CPU)
    assert other[1].stride == (1, 1)
    assert other.state_dict().keys() == network.state_dict().keys()
    images = torch.randn(5, 3, 13, 11)
    theirs = gradients(other, images.contiguous(memory_format=torch.channels_last))
    for mine, its in zip(gradients(network, images), theirs, strict=True):
        torch.testing.assert_close(its, mine)


@pytest.mark.usefixtures("on_avx2")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(1, 8, 1, stride=2),
        nn.Conv2d(4, 8, 3, stride=2),
        nn.Conv2d(4, 8, 1),
        nn.Conv2d(4, 8, 1, stride=2, padding=1),
    ],
)
def test_others_stay_as_they_are(layer):
    stride = layer.stride
    faulty_kernels.avoid(layer, CPU)
    assert layer.stride == stride
    assert not layer._forward_pre_hooks


def test_gpus_and_wider_registers_have_no_such_kernel(monkeypatch):
    layer = nn.Conv2d(4, 8, 1, stride=2)
    faulty_kernels.avoid(layer, torch.device("meta"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    faulty_kernels.avoid(layer, CPU)
    assert layer.stride == (2, 2)


def test_a_process_that_trains_such_a_layer_lives():
    """On a CPU with AVX2 it died within two steps."""
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", DIES],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
