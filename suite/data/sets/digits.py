"""scikit-learn's optical digits (UCI): 1,797 images of 8x8 pixels with 17 grey levels."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from suite.data.base import DataError
from suite.data.checked import read_checked
from suite.data.source import Source
from suite.data.split import hold_out

SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""Of the file's content."""
TEST_IMAGES = 797  # a fixed stratified choice: scikit-learn ships no split


def read(_: Path, train: bool) -> tuple[Tensor, Tensor]:
    """One part; the package's file is read without importing it, which would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("data set digits: it ships with scikit-learn, which is not installed")
    folder = Path(package.origin).parent / "datasets" / "data"
    again = "Install scikit-learn again"
    text = read_checked("digits.csv.gz", (folder,), ("sha256", SHA256), again)
    table = np.loadtxt(io.BytesIO(text), dtype=np.uint8, delimiter=",")  # [1797, 64 pixels, digit]
    images = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    kept, held_out = hold_out(labels, TEST_IMAGES)
    rows = kept if train else held_out
    return torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])


SOURCE = Source(
    num_classes=10,
    train_images=1000,
    validation_images=200,
    test_images=TEST_IMAGES,
    size=8,
    channels=1,
    mean=(0.3051,),  # over the 1,000 training and validation images
    std=(0.3758,),
    flip=False,
    read=read,
)
