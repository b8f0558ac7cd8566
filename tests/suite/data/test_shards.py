"""WebDataset shards: the same images as in folders, whatever the order; faults in one line."""

import io
import os
import tarfile

import interrupted_run
import pytest
import torch
from small_pictures import CLASSES, TRAIN, VAL, picture, write_folders

from suite.config import DataConfig
from suite.data import DataError, identify, load, shards
from suite.data.listing import scan
from suite.interface.errors import UserError
from sweeps.init.pictures import look


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write(folder, numbers, each=4):
    """Images ``numbers``, of the class number // 10, ``each`` in a shard."""
    folder.mkdir(parents=True)
    for start in range(0, len(numbers), each):
        with tarfile.open(folder / f"{start:06}.tar", "w") as tar:
            for number in numbers[start : start + each]:
                extension, content = picture(number)
                add(tar, f"some/{number:03}.{extension}", content)
                add(tar, f"some/{number:03}.json", b'{"note": "left aside"}')
                add(tar, f"some/{number:03}.cls", CLASSES[number // 10].encode())


@pytest.fixture
def root(tmp_path):
    """``sharded`` and, of the same images in the same order, ``folders``."""
    write(tmp_path / "sharded" / "train", TRAIN)
    write(tmp_path / "sharded" / "val", VAL)
    write_folders(tmp_path / "folders")
    return tmp_path


@pytest.mark.parametrize("decoder", [None, "torchvision"])
def test_shards_give_the_pixels_that_folders_give(root, decoder):
    both = [
        load(DataConfig(name=name, image_size=16, decoder=decoder), root, workers)
        for name, workers in (("sharded", 2), ("folders", 0))
    ]
    assert both[0].class_names == ("kite", "owl", "wren")
    names = [[it.class_names[label] for label in it.train_labels] for it in both]
    assert names[0] == [name.partition("_")[2] for name in names[1]]
    tests = [torch.cat([batch.image for batch in it.evals["test"].batches(4)]) for it in both]
    assert torch.equal(*tests)


def test_numbers_are_classes_in_their_order_and_names_in_theirs(tmp_path):
    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train" / "a.tar", "w") as tar:
        for label in ("10", "9", "2"):
            add(tar, f"{label}.jpg", picture(0)[1])
            add(tar, f"{label}.cls", f"{label}\n".encode())
    found = scan(tmp_path / "train")
    assert found.classes == ("2", "9", "10")
    assert found.labels.tolist() == [2, 1, 0]


def test_an_image_is_read_where_it_lies(root):
    found = scan(root / "sharded" / "train")
    for number, path in zip(TRAIN, found.paths.tolist(), strict=True):
        place = f"{found.folder}/{os.fsdecode(path)}"
        assert shards.content(place) == picture(number)[1]
        assert shards.size(place) == len(picture(number)[1])


def test_what_the_heads_say_is_kept_while_no_shard_changes(root, monkeypatch):
    folder, cache = root / "sharded" / "train", root / "cache"
    first = scan(folder, cache)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)  # no shard is opened
        again = scan(folder, cache)
    assert again.paths.tolist() == first.paths.tolist()
    assert (again.labels.tolist(), again.classes) == (first.labels.tolist(), first.classes)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert scan(folder, cache).paths.tolist() == first.paths.tolist()
    with tarfile.open(folder / "000000.tar", "a") as tar:
        add(tar, "new.png", picture(1)[1])
        add(tar, "new.cls", b"owl")
    assert len(scan(folder, cache)) == len(first) + 1


def test_other_images_are_others_and_the_same_elsewhere_are_the_same(root):
    before = identify("sharded", root)
    assert (before.classes, before.images) == (3, {"train": 18, "val": 6})
    (root / "sharded").rename(root / "moved")
    assert identify("moved", root) == before
    with tarfile.open(root / "moved" / "val" / "000004.tar", "a") as tar:
        add(tar, "new.png", picture(1)[1])
        add(tar, "new.cls", b"owl")
    assert identify("moved", root).sha256 != before.sha256


def test_other_classes_of_the_same_images_are_other_data(root):
    """Sizes, offsets and the first image of every class stay: only the classes differ."""
    before = identify("sharded", root)
    last = sorted((root / "sharded" / "train").glob("*.tar"))[-1]
    content = last.read_bytes()
    with tarfile.open(last) as tar:
        member = [it for it in tar if it.name.endswith(".cls")][-1]
    start, end = member.offset_data, member.offset_data + member.size
    assert content[start:end] == b"kite"
    last.write_bytes(content[:start] + b"wren" + content[end:])
    assert identify("sharded", root) != before


def test_an_interrupted_run_goes_on_with_the_same_bits(root):
    interrupted_run.check_same_bits(root, "sharded")


def no_class(tar):
    add(tar, "b.jpg", picture(0)[1])


def twice(tar):
    add(tar, "a.png", picture(1)[1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_class, r"a\.tar: 1 of 2 images have no class: b\.cls is missing or empty"),
        (twice, r"a\.tar: two images of the key 'a'"),
    ],
)
def test_a_shard_that_says_too_little_or_too_much_is_refused(tmp_path, spoil, message):
    (tmp_path / "train").mkdir()
    with tarfile.open(tmp_path / "train" / "a.tar", "w") as tar:
        add(tar, "a.jpg", picture(0)[1])
        add(tar, "a.cls", b"owl")
        spoil(tar)
    with pytest.raises(DataError, match=message):
        scan(tmp_path / "train")


def test_damaged_compressed_and_empty_shards_are_refused(tmp_path):
    folder = tmp_path / "train"
    write(folder, TRAIN[:4])
    whole = (folder / "000000.tar").read_bytes()
    for content in (whole[:700], b"\x1f\x8bno tar"):
        (folder / "000000.tar").write_bytes(content)
        with pytest.raises(DataError, match=r"000000\.tar: cannot be read: "):
            scan(folder)
    with tarfile.open(folder / "000000.tar", "w"):
        pass
    with pytest.raises(DataError, match="train: no image in its 1 shards"):
        scan(folder)


def test_one_class_is_refused_in_shards_and_in_folders(tmp_path):
    write(tmp_path / "sharded" / "train", TRAIN[:4])
    with pytest.raises(DataError, match=r"sharded/train: holds 1 class, at least 2 are needed"):
        load(DataConfig(name="sharded"), tmp_path)
    (tmp_path / "folders" / "train" / "owl").mkdir(parents=True)
    (tmp_path / "folders" / "train" / "owl" / "1.jpg").write_bytes(picture(0)[1])
    with pytest.raises(
        DataError, match=r"folders/train: holds 1 class folder, at least 2 are"
    ) as it:
        load(DataConfig(name="folders"), tmp_path)
    assert "\n" not in str(it.value)


def test_init_looks_into_shards_of_splits_alone(root):
    found = look(root / "sharded", root / "links")
    assert (found.classes, found.images, found.side) == (
        ("kite", "owl", "wren"), {"train": 18, "val": 6}, 20,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"shards must lie in train/ and val/ of it"):
        look(root / "sharded" / "train", root / "links")


def test_a_tar_beside_class_folders_is_left_aside(root):
    before = identify("folders", root)
    (root / "folders" / "train" / "backup.tar").write_bytes(b"whatever")
    assert identify("folders", root) == before
