"""CIFAR-10 and CIFAR-100 in the files of their authors, checked by md5 before they are read."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5

from suite.data.base import DataError

DOWNLOAD_TIMEOUT_SECONDS = 10.0
"""For each answer of the server, not for the whole file."""


def read_cifar(dataset: type[CIFAR10], root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Images [N, 3, 32, 32] uint8 and labels [N] int64 of ``dataset`` (CIFAR10 or CIFAR100).

    Missing files are downloaded, in one attempt; damaged ones are left for the user to look at.
    Raises :class:`DataError`, which says what must lie where.
    """
    try:
        found = _open(dataset, root, train)
    except OSError as error:
        raise DataError(f"{_whole(dataset, root)} cannot be read: {error}") from None
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    return torch.from_numpy(images), torch.tensor(found.targets)


def _open(dataset: type[CIFAR10], root: Path, train: bool) -> CIFAR10:
    try:
        return dataset(str(root), train=train)
    except RuntimeError:  # a file is missing or its md5 is wrong
        _mend(dataset, root)
    return dataset(str(root), train=train)


def _mend(dataset: type[CIFAR10], root: Path) -> None:
    """Download what is missing. Raises :class:`DataError` if it cannot, or if a file is damaged."""
    folder = root / dataset.base_folder
    missing = [name for name in _files(dataset) if not (folder / name).exists()]
    for name, md5 in _files(dataset).items():
        found = "" if name in missing else calculate_md5(folder / name)
        if found not in ("", md5):
            size = (folder / name).stat().st_size
            raise DataError(
                f"{_whole(dataset, root)}: file {name} is damaged or another: its md5 is {found} "
                f"({size:,} bytes), expected {md5}. Delete it; the official one is in "
                f"{dataset.filename} ({dataset.url}), which is downloaded where there is a network"
            )
    try:
        with _scratch_folder(root) as scratch:
            _download(dataset, scratch)
            folder.mkdir(exist_ok=True)
            for name in missing:  # one rename each: other processes see whole files only
                (scratch / dataset.base_folder / name).replace(folder / name)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise DataError(_advice(dataset, root, missing, error)) from None


def _download(dataset: type[CIFAR10], folder: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            dataset(str(folder), download=True)
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _scratch_folder(root: Path) -> Iterator[Path]:
    """A folder on the same file system as ``root``, which is made if need be."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = TemporaryDirectory(dir=root, prefix=".download-")
    except OSError as error:
        raise DataError(f"data root {root} cannot be written: {error.strerror}") from None
    with scratch as path:
        yield Path(path)


def _files(dataset: type[CIFAR10]) -> dict[str, str]:
    """File name -> md5."""
    meta = (dataset.meta["filename"], dataset.meta["md5"])
    return dict([*dataset.train_list, *dataset.test_list, meta])


def _whole(dataset: type[CIFAR10], root: Path) -> str:
    return f"data set {dataset.__name__.lower()} in {root / dataset.base_folder}"


def _advice(dataset: type[CIFAR10], root: Path, missing: list[str], error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    listed = ", ".join(f"{name} (md5 {md5})" for name, md5 in _files(dataset).items())
    return (
        f"{_whole(dataset, root)}: {', '.join(missing)} missing, and the download failed "
        f"({reason[:160]}). Unpack {dataset.filename} (md5 {dataset.tgz_md5}, from {dataset.url}) "
        f"in {root}, so that {root / dataset.base_folder} holds {listed}; another place is chosen "
        "with --data-root or DSKD_DATA_ROOT."
    )
