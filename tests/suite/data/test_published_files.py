"""Data sets read from small files in the published formats, which keep the whole contract."""

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from suite.data import DataError, sets
from suite.data.sets import fashion_mnist, stl10
from suite.data.testing import check

STREAM = np.random.default_rng(0)
COUNTS = {True: 60, False: 20}
LABELS = {train: np.arange(count, dtype=np.uint8) % 10 for train, count in COUNTS.items()}


def write(folder, files, hashes, kind, monkeypatch, packed=False):
    """Files by name, and their hashes in the place of the published ones."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
        monkeypatch.setitem(hashes, name, hashlib.new(kind, content).hexdigest())


def offer(name, monkeypatch):
    """The data set with so few images; ``sets.find`` gives it."""
    small = replace(
        sets.find(name),
        train_images=COUNTS[True],
        validation_images=10,
        test_images=COUNTS[False],
        system_files="",
    )
    find = sets.find
    monkeypatch.setattr(sets, "find", lambda asked: small if asked == name else find(asked))
    return small


@pytest.fixture(params=[False, True], ids=["plain", "gz"])
def fashion(request, tmp_path, monkeypatch):
    """Small IDX files, and the pixels that were written."""
    pixels = {it: STREAM.integers(0, 256, (n, 28, 28), dtype=np.uint8) for it, n in COUNTS.items()}
    files = {}
    for train, part in ((True, "train"), (False, "t10k")):
        sizes = struct.pack(">IIII", 0x803, COUNTS[train], 28, 28)
        files[f"{part}-images-idx3-ubyte"] = sizes + pixels[train].tobytes()
        counted = struct.pack(">II", 0x801, COUNTS[train])
        files[f"{part}-labels-idx1-ubyte"] = counted + LABELS[train].tobytes()
    folder = tmp_path / fashion_mnist.FILES
    write(folder, files, fashion_mnist.SHA256, "sha256", monkeypatch, packed=request.param)
    return tmp_path, pixels, offer("fashion_mnist", monkeypatch)


@pytest.fixture
def stl(tmp_path, monkeypatch):
    """Small binary files, and the pixels that were written: rows before columns."""
    shape = (3, 96, 96)
    pixels = {it: STREAM.integers(0, 256, (n, *shape), dtype=np.uint8) for it, n in COUNTS.items()}
    files = {}
    for train, part in ((True, "train"), (False, "test")):
        files[f"{part}_X.bin"] = pixels[train].transpose(0, 1, 3, 2).tobytes()
        files[f"{part}_y.bin"] = (LABELS[train] + 1).tobytes()
    write(tmp_path / stl10.FILES, files, stl10.MD5, "md5", monkeypatch)
    return tmp_path, pixels, offer("stl10", monkeypatch)


def test_fashion_mnist_is_read_from_idx_files_packed_or_not(fashion):
    root, pixels, source = fashion
    for train in (True, False):
        images, labels = source.read(root, train)
        assert (images[:, 0].numpy() == pixels[train]).all()
        assert labels.tolist() == LABELS[train].tolist()
    check("fashion_mnist", root)


def test_stl10_is_read_by_columns_and_its_labels_count_from_one(stl):
    root, pixels, source = stl
    for train in (True, False):
        images, labels = source.read(root, train)
        assert (images.numpy() == pixels[train]).all()
        assert labels.tolist() == LABELS[train].tolist()
    check("stl10", root)


def test_another_file_in_a_published_ones_place_is_refused_in_one_line(stl):
    root, _, source = stl
    file = root / stl10.FILES / "train_X.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"train_X\.bin: is damaged or another: the md5 .*Unpack"):
        source.read(root, True)
    file.unlink()
    with pytest.raises(DataError, match=r"data file train_X\.bin: is not in .*stl10_binary\. Unp"):
        source.read(root, True)


def test_a_packed_file_that_breaks_off_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", str(tmp_path / "none"))
    folder = tmp_path / fashion_mnist.FILES
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"0123456789")[:-4])
    with pytest.raises(DataError, match=r"ubyte\.gz: cannot be read: .*Install Debian's"):
        sets.find("fashion_mnist").read(tmp_path, True)
