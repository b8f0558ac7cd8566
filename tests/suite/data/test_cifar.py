"""CIFAR's files: read exactly, checked by md5, downloaded whole or not at all, clear errors."""

import hashlib
import os
import pickle
import tarfile
import urllib.error
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from suite.config import DataConfig
from suite.data import DataError, load
from suite.data.cifar import read_cifar

REAL = Path(os.environ.get("DSKD_DATA_ROOT", "data"))


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def small_cifar(folder, address):
    """A CIFAR10 of 3 training files and a test file of 4 images each, with its own md5s.

    Its archive lies in ``folder``, which is served at ``address``. Returns the class and the bytes.
    """
    base = folder / CIFAR10.base_folder
    base.mkdir(parents=True)
    stream = np.random.default_rng(0)
    raw = stream.integers(0, 256, (4, 4, 3072), dtype=np.uint8)
    names = ["data_batch_1", "data_batch_2", "data_batch_3", "test_batch"]
    for name, data in zip(names, raw, strict=True):
        (base / name).write_bytes(pickle.dumps({"data": data, "labels": [3, 1, 4, 1]}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    archive = folder / "small.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(base, CIFAR10.base_folder)

    class Small(CIFAR10):
        url = f"{address}/small.tar.gz"
        filename = "small.tar.gz"
        tgz_md5 = md5(archive)
        train_list = [[name, md5(base / name)] for name in names[:3]]
        test_list = [["test_batch", md5(base / "test_batch")]]
        meta = {**CIFAR10.meta, "md5": md5(base / "batches.meta")}

    return Small, raw


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def small(tmp_path):
    """The small CIFAR lies in ``tmp_path / "there"`` and can be downloaded from this machine."""
    serve = partial(Silent, directory=tmp_path / "there")
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield small_cifar(tmp_path / "there", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def no_network(*_, **__):
    raise urllib.error.URLError("Network is unreachable")


def test_images_and_labels_are_those_of_the_files(small, tmp_path):
    dataset, raw = small
    images, labels = read_cifar(dataset, tmp_path / "there", train=True)
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(raw[:3]).reshape(12, 3, 32, 32))
    assert labels.tolist() == [3, 1, 4, 1] * 3
    images, _ = read_cifar(dataset, tmp_path / "there", train=False)
    assert torch.equal(images, torch.from_numpy(raw[3]).reshape(4, 3, 32, 32))


def test_missing_files_are_downloaded_and_nothing_else_is_left_behind(small, tmp_path, capsys):
    dataset, raw = small
    root = tmp_path / "new" / "data"
    images, _ = read_cifar(dataset, root, train=True)
    assert torch.equal(images, torch.from_numpy(raw[:3]).reshape(12, 3, 32, 32))
    assert [path.name for path in root.iterdir()] == [CIFAR10.base_folder]
    assert len(list((root / CIFAR10.base_folder).iterdir())) == 5
    assert capsys.readouterr().out == ""


def test_a_single_missing_file_is_added_and_the_others_are_left_alone(small, tmp_path):
    dataset, _ = small
    root = tmp_path / "there"
    folder = root / CIFAR10.base_folder
    (folder / "data_batch_2").unlink()
    before = (folder / "data_batch_1").stat().st_ino
    read_cifar(dataset, root, train=True)
    assert (folder / "data_batch_1").stat().st_ino == before
    assert (folder / "data_batch_2").exists()


def test_a_damaged_file_is_named_and_kept(small, tmp_path):
    dataset, _ = small
    file = tmp_path / "there" / CIFAR10.base_folder / "data_batch_2"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match="file data_batch_2 is damaged") as caught:
        read_cifar(dataset, tmp_path / "there", train=True)
    expected = next(md5 for name, md5 in dataset.train_list if name == "data_batch_2")
    found = hashlib.md5(content).hexdigest()
    said = f"its md5 is {found} ({len(content):,} bytes), expected {expected}. Delete it"
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == bytes(content)


def test_a_damaged_archive_leaves_nothing_behind(small, tmp_path):
    dataset, _ = small
    archive = tmp_path / "there" / "small.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(DataError, match="the download failed"):
        read_cifar(dataset, tmp_path / "new", train=True)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cifar100", ["cifar-100-python", "train (md5 16019d7e3df5f24257cddd939b257f8d)", "meta"]),
        ("cifar10", ["cifar-10-batches-py", "test_batch (md5 40351d587109b95175f43aff81a1287e)"]),
    ],
)
def test_without_network_one_paragraph_says_what_to_put_where(name, parts, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(DataError, match=r"the download failed .*unreachable") as caught:
        load(DataConfig(name=name), tmp_path / "data")
    message = str(caught.value)
    assert "\n" not in message
    for part in [*parts, str(tmp_path / "data"), "--data-root", "DSKD_DATA_ROOT", "tar.gz"]:
        assert part in message
    assert list((tmp_path / "data").iterdir()) == []


def test_the_network_is_asked_once_and_with_a_time_limit(tmp_path, monkeypatch):
    import socket

    asked = []

    def silent(*_, **__):
        asked.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", silent)
    with pytest.raises(DataError, match="timed out"):
        load(DataConfig(name="cifar10"), tmp_path)
    assert asked == [10.0]
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("place", ["data", "data/cifar-100-python"])
def test_a_file_where_a_folder_should_be_is_a_clear_error(place, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("in the way")
    with pytest.raises(DataError, match=str(tmp_path / "data")) as caught:
        load(DataConfig(name="cifar100"), tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_an_unwritable_data_root_is_a_clear_error(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("suite.data.cifar.TemporaryDirectory", read_only)
    with pytest.raises(DataError, match=r"data root .* cannot be written: Permission denied"):
        load(DataConfig(name="cifar100"), tmp_path)


def test_a_file_that_may_not_be_read_is_a_clear_error(small, tmp_path, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", locked)
    with pytest.raises(DataError, match=r"cannot be read: .*Permission denied"):
        read_cifar(small[0], tmp_path / "there", train=True)


@pytest.mark.skipif(
    not (REAL / CIFAR100.base_folder).exists(), reason="real CIFAR-100 under DSKD_DATA_ROOT"
)
def test_real_cifar100_has_these_splits():
    data = load(DataConfig(name="cifar100"), REAL)
    assert data.num_classes == 100
    assert data.image_shape == (3, 32, 32)
    assert len(data.train) == 45_000
    assert torch.bincount(data.train_labels).tolist() == [450] * 100
    val, test = data.evals["val"], data.evals["test"]
    assert torch.bincount(val.labels).tolist() == [50] * 100
    assert torch.bincount(test.labels).tolist() == [100] * 100
    pinned = "d48d64f3b0537fa64ad9131242a0372fbfe57644fcb16c127124c402ceedb452"
    assert hashlib.sha256(val.images.numpy().tobytes()).hexdigest() == pinned
    every_tenth = torch.cat([batch.image for batch in data.train.plain(500)])[::10]
    assert every_tenth.mean().abs() < 0.02
    assert (every_tenth.std() - 1).abs() < 0.02
