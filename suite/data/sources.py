"""Where the bytes of the small data sets come from."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from suite.data.base import DataError
from suite.data.split import hold_out
from suite.interface.rng import generator


@dataclass(frozen=True)
class Source:
    """A small data set as bytes: training part, test part, and what normalises them."""

    num_classes: int
    train_images: int  # train and validation together
    validation_images: int
    test_images: int
    size: int  # pixels
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool  # whether a mirrored image keeps its class
    read: Callable[[Path, bool], tuple[Tensor, Tensor]]
    """(root, train) -> images [N, C, H, W] uint8 and labels [N] int64."""
    files: str = ""  # folder under the data root; empty when the data ship with a package


def _digits(_: Path, train: bool) -> tuple[Tensor, Tensor]:
    """scikit-learn's optical digits (UCI), 1,797 images of 8x8 pixels with 17 grey levels.

    The package's file is read without importing the package, which would take seconds a run.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("data set digits: it ships with scikit-learn, which is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"data set digits: {file} cannot be read: {error}. {_AGAIN}") from None
    found = hashlib.sha256(text).hexdigest()
    if found != DIGITS_SHA256:
        raise DataError(
            f"data set digits: {file} is damaged or another: the SHA-256 of its content is "
            f"{found}, expected {DIGITS_SHA256}. {_AGAIN}"
        )
    table = np.loadtxt(io.BytesIO(text), dtype=np.uint8, delimiter=",")  # [1797, 64 pixels, digit]
    images = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    kept, held_out = hold_out(labels, DIGITS_TEST_IMAGES)
    rows = kept if train else held_out
    return torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])


DIGITS_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
_AGAIN = "Install scikit-learn again"
DIGITS_TEST_IMAGES = 797  # a fixed stratified choice: scikit-learn ships no split


def _fake(_: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Ten faint patterns under noise: learnable, and never mistaken for data."""
    count = FAKE_TRAIN_IMAGES if train else FAKE_TEST_IMAGES
    patterns = torch.rand(10, 3, 16, 16, generator=generator(0, "fake patterns"))
    stream = generator(0, "fake train" if train else "fake test")
    labels = torch.arange(count) % 10
    noise = torch.rand(count, 3, 16, 16, generator=stream)
    images = (0.35 * patterns[labels] + 0.65 * noise) * 255
    return images.to(torch.uint8), labels


FAKE_TRAIN_IMAGES, FAKE_TEST_IMAGES = 640, 200


def _cifar(kind: str) -> Callable[[Path, bool], tuple[Tensor, Tensor]]:
    def read(root: Path, train: bool) -> tuple[Tensor, Tensor]:
        from torchvision.datasets import CIFAR10, CIFAR100

        from suite.data.cifar import read_cifar

        return read_cifar({"cifar10": CIFAR10, "cifar100": CIFAR100}[kind], root, train)

    return read


SOURCES: dict[str, Source] = {
    # mean and standard deviation over the 1,000 training and validation images
    "digits": Source(10, 1000, 200, DIGITS_TEST_IMAGES, 8, 1, (0.3051,), (0.3758,), False, _digits),
    # mean and standard deviation over the 50,000 training images, as the field states them
    "cifar10": Source(
        10,
        50_000,
        5_000,
        10_000,
        32,
        3,
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        True,
        _cifar("cifar10"),
        "cifar-10-batches-py",
    ),
    # RepDistiller dataset/cifar100.py; measured: 0.5071 0.4865 0.4409, 0.2673 0.2564 0.2762
    "cifar100": Source(
        100,
        50_000,
        5_000,
        10_000,
        32,
        3,
        (0.5071, 0.4867, 0.4408),
        (0.2675, 0.2565, 0.2761),
        True,
        _cifar("cifar100"),
        "cifar-100-python",
    ),
    "fake": Source(
        10,
        FAKE_TRAIN_IMAGES,
        128,
        FAKE_TEST_IMAGES,
        16,
        3,
        (0.5, 0.5, 0.5),
        (0.25, 0.25, 0.25),
        True,
        _fake,
    ),
}
