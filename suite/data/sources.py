"""Where the bytes of the small data sets come from."""

from __future__ import annotations

import contextlib
import io
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data.base import DataError
from suite.rng import generator

DOWNLOAD_TIMEOUT_SECONDS = 10.0


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
    """scikit-learn's optical digits (UCI), 1,797 images of 8x8 pixels with 17 grey levels."""
    from sklearn.datasets import load_digits

    from suite.data.split import hold_out

    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = raw.target.astype(np.int64)
    kept, held_out = hold_out(labels, DIGITS_TEST_IMAGES)
    rows = kept if train else held_out
    return torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])


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

        dataset: Any = {"cifar10": CIFAR10, "cifar100": CIFAR100}[kind]
        found = _open_cifar(dataset, kind, root, train)
        images: NDArray[np.uint8] = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
        return torch.from_numpy(images), torch.tensor(found.targets)

    return read


def _open_cifar(dataset: Any, kind: str, root: Path, train: bool) -> Any:
    """The torchvision data set, its files checked by md5, downloaded once if they are missing."""
    try:
        with contextlib.suppress(RuntimeError):  # torchvision: missing or wrong md5
            return dataset(str(root), train=train, download=False)
        _download(dataset, root)
        return dataset(str(root), train=train, download=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(_missing(dataset, kind, root, error)) from None


def _download(dataset: Any, root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"data root {root}: cannot be used as a folder: {error.strerror}") from None
    with _short_timeout(), contextlib.redirect_stdout(io.StringIO()):
        dataset(str(root), train=True, download=True)


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _missing(dataset: Any, kind: str, root: Path, error: Exception) -> str:
    folder = root / dataset.base_folder
    listed = [*dataset.train_list, *dataset.test_list]
    files = ", ".join(f"{name} (md5 {md5})" for name, md5 in listed)
    reason = " ".join(str(error).split()) or type(error).__name__
    state = "present but not the official files" if folder.exists() else "not there"
    return (
        f"data set {kind}: {folder} is {state}, and the download failed ({reason[:160]}). Unpack "
        f"{dataset.filename} (md5 {dataset.tgz_md5}) from the data set's home page so that "
        f"{folder} holds {files}; another place is chosen with --data-root or DSKD_DATA_ROOT."
    )


SOURCES: dict[str, Source] = {
    # mean and standard deviation over the 1,000 training and validation images
    "digits": Source(10, 1000, 200, DIGITS_TEST_IMAGES, 8, 1, (0.3058,), (0.3766,), False, _digits),
    # mean and standard deviation as measured over the 50,000 training images
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
    # RepDistiller dataset/cifar100.py; equal to the measured values to four digits
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
