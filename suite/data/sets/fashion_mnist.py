"""Fashion-MNIST (Xiao et al. 2017): grey images of 28x28 pixels of clothes in 10 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from suite.data.checked import read_checked
from suite.data.source import Source

FILES = "FashionMNIST/raw"
"""Where torchvision's FashionMNIST puts them."""
DEBIAN = "/usr/share/datasets/fashion-mnist"
"""Where the package dataset-fashion-mnist puts them."""
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of each file's content; measured on the Debian package's files."""


def read(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part, from the data root or from the Debian package."""
    part = "train" if train else "t10k"
    images = _idx(root, f"{part}-images-idx3-ubyte", header=16)
    labels = _idx(root, f"{part}-labels-idx1-ubyte", header=8)
    return images.view(-1, 1, 28, 28), labels.long()


def _idx(root: Path, name: str, header: int) -> Tensor:
    """The bytes after the header: a magic number and the sizes, 4 bytes each."""
    folders = (root / FILES, Path(DEBIAN))
    advice = (
        "Install Debian's dataset-fashion-mnist, or call torchvision.datasets.FashionMNIST"
        f"({str(root)!r}, download=True) where there is a network"
    )
    content = read_checked(name, folders, ("sha256", SHA256[name]), advice)
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).copy())


SOURCE = Source(
    num_classes=10,
    train_images=60_000,
    validation_images=6_000,
    test_images=10_000,
    size=28,
    channels=1,
    mean=(0.2860,),  # measured over the 60,000 training images
    std=(0.3530,),
    flip=True,
    read=read,
    files=FILES,
    system_files=DEBIAN,
)
