"""CIFAR-100 (Krizhevsky 2009): colour images of 32x32 pixels in 100 classes."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from suite.data.source import Source


def read(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part, in the files of their authors."""
    from torchvision.datasets import CIFAR100  # seconds, for those who need it

    from suite.data.cifar import read_cifar

    return read_cifar(CIFAR100, root, train)


SOURCE = Source(
    num_classes=100,
    train_images=50_000,
    validation_images=5_000,
    test_images=10_000,
    size=32,
    channels=3,
    mean=(0.5071, 0.4867, 0.4408),  # as RepDistiller; measured: 0.5071 0.4865 0.4409
    std=(0.2675, 0.2565, 0.2761),  # measured: 0.2673 0.2564 0.2762
    flip=True,
    read=read,
    files="cifar-100-python",
)
