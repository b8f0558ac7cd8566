"""STL-10 (Coates et al. 2011): colour images of 96x96 pixels in 10 classes, without the unlabelled.

Of its 5,000 training images the predefined folds are not used; a fixed tenth validates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from suite.data.checked import read_checked
from suite.data.source import Source

FILES = "stl10_binary"
MD5 = {  # as torchvision.datasets.STL10 has them
    "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
    "train_y.bin": "5a34089d4802c674881badbb80307741",
    "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
    "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
}


def read(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part; the files hold columns of pixels before rows, and labels from 1."""
    part = "train" if train else "test"
    images = _bytes(root, f"{part}_X.bin").view(-1, 3, 96, 96).transpose(2, 3).contiguous()
    return images, _bytes(root, f"{part}_y.bin").long() - 1


def _bytes(root: Path, name: str) -> Tensor:
    advice = f"Unpack stl10_binary.tar.gz of cs.stanford.edu/~acoates/stl10 in {root}"
    content = read_checked(name, (root / FILES,), ("md5", MD5[name]), advice)
    return torch.from_numpy(np.frombuffer(content, np.uint8).copy())


SOURCE = Source(
    num_classes=10,
    train_images=5_000,
    validation_images=500,
    test_images=8_000,
    size=96,
    channels=3,
    mean=(0.4467, 0.4398, 0.4066),  # over the 5,000 training images, as the field states them;
    std=(0.2603, 0.2566, 0.2713),  # not measured here
    flip=True,
    read=read,
    files=FILES,
)
