"""CIFAR-10 (Krizhevsky 2009): colour images of 32x32 pixels in 10 classes."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from suite.data.source import Source


def read(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part, in the files of their authors."""
    from torchvision.datasets import CIFAR10  # seconds, for those who need it

    from suite.data.cifar import read_cifar

    return read_cifar(CIFAR10, root, train)


SOURCE = Source(
    num_classes=10,
    train_images=50_000,
    validation_images=5_000,
    test_images=10_000,
    size=32,
    channels=3,
    mean=(0.4914, 0.4822, 0.4465),  # over the 50,000 training images, as the field states them
    std=(0.2470, 0.2435, 0.2616),
    flip=True,
    read=read,
    files="cifar-10-batches-py",
)
