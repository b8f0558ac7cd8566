"""ResNet-50 of He et al. 2016 (arXiv 1512.03385) with RepDistiller's 3x3 stem for CIFAR."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from suite.models.zoo.base import register
from suite.models.zoo.resnet import CifarResNet, conv3x3, projection


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the stride is the 3x3 convolution's."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        out: Tensor = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out)).relu_()
        out = self.bn3(self.conv3(out)) + self.downsample(x)
        activated: Tensor = self.act(out)
        return activated


register(
    "cifar_resnet50",
    partial(CifarResNet, (3, 4, 6, 3), block=Bottleneck, widths=(64, 64, 128, 256, 512)),
)
