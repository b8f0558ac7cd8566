"""Parquet files of the Hugging Face hub: the images that folders give; faults in one line."""

import sys

import interrupted_run
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_pictures import CLASSES, TRAIN, VAL, hub_table, picture, write_folders, write_hub

from suite.config import Columns, DataConfig
from suite.data import DataError, describe, identify, load, names, parquet
from suite.data.listing import splits
from suite.data.shards import content
from suite.interface.errors import UserError
from sweeps.init.pictures import look


@pytest.fixture
def root(tmp_path):
    """``hub`` and, of the same images in the same order, ``folders``."""
    write_hub(tmp_path / "hub" / "data", "train", TRAIN, parts=3)
    write_hub(tmp_path / "hub" / "data", "validation", VAL)
    write_folders(tmp_path / "folders")
    return tmp_path


def one_file(tmp_path, made, name="train.parquet"):
    """A data set with these rows for training."""
    (tmp_path / "one" / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(made, tmp_path / "one" / "data" / name)
    return tmp_path / "one"


def two(labels=(0, 1), **how):
    return hub_table([picture(0)[1], picture(1)[1]], labels, **how)


@pytest.mark.parametrize("decoder", [None, "torchvision"])
def test_they_give_the_pixels_that_folders_give(root, decoder):
    both = [
        load(DataConfig(name=name, image_size=16, decoder=decoder), root, workers)
        for name, workers in (("hub", 2), ("folders", 0))
    ]
    assert both[0].class_names == CLASSES
    assert both[1].class_names == ("0_owl", "1_wren", "2_kite")
    assert torch.equal(*(it.train_labels for it in both))
    for split in ("val", "test"):
        batches = [list(it.evals[split].batches(4)) for it in both]
        for mine, theirs in zip(*batches, strict=True):
            assert torch.equal(mine.image, theirs.image)
            assert torch.equal(mine.label, theirs.label)
    epochs = [list(it.train.epoch(0, 1, 4)) for it in both]
    for mine, theirs in zip(*epochs, strict=True):
        assert torch.equal(mine.image, theirs.image)


def test_a_row_is_read_where_it_lies(root):
    found = splits(root / "hub")["train"]
    assert found.paths[7] == b"train-00001-of-00003.parquet//image//1"
    for number, path in reversed(list(zip(TRAIN, found.paths.tolist(), strict=True))):
        assert content(f"{found.folder}/{path.decode()}") == picture(number)[1]


def test_a_process_keeps_the_groups_that_it_read_last_and_no_more_than_fit():
    groups, read = parquet._Groups(300), []

    def group(name):
        return groups.get((name,), lambda: read.append(name) or np.zeros(100, dtype=np.uint8))

    for name in "abcadb":  # d pushes b out, which was used longest ago; b then c
        group(name)
    assert read == ["a", "b", "c", "d", "b"]
    assert groups.nbytes == 300


def test_reading_far_more_than_is_kept_takes_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUPS", parquet._Groups(2**23))
    noise = np.random.default_rng(0)
    images = [noise.bytes(2**20) for _ in range(8)]  # 8 MiB a file, 20 files
    for part in range(20):
        made = hub_table(images, [0, 1] * 4)
        place = one_file(tmp_path, made, f"train-{part:05}-of-00020.parquet")
        pq.write_table(made, place / "data" / f"train-{part:05}-of-00020.parquet", row_group_size=2)
    found = splits(place)["train"]
    paths = [f"{found.folder}/{it.decode()}" for it in found.paths.tolist()]
    content(paths[0])
    before = pa.total_allocated_bytes()
    for path in paths:
        content(path)
        assert pa.total_allocated_bytes() - before <= 2**23 + 2**22


def test_names_of_splits_and_places_of_files(tmp_path):
    write_hub(tmp_path / "flat", "train", TRAIN)
    write_hub(tmp_path / "flat", "valid", VAL)
    write_hub(tmp_path / "flat", "test", VAL)
    write_hub(tmp_path / "flat", "unsupervised", [0])
    found = splits(tmp_path / "flat")
    assert {name: len(it) for name, it in found.items()} == {"train": 18, "val": 6, "test": 6}
    assert "flat" in names(tmp_path)
    files = str(tmp_path / "flat" / "{train,validation}-*.parquet")
    assert describe("flat", tmp_path)[-1] == files
    place = one_file(tmp_path, two(), "train-00000-of-00001-0123456789abcdef.parquet")
    assert len(splits(place)["train"]) == 2
    assert describe("one", tmp_path)[-1] == str(place / "data" / "{train,validation}-*.parquet")


def test_columns_have_the_names_that_the_run_says(tmp_path):
    columns = Columns("img", "fine_label")
    write_hub(tmp_path / "hub" / "data", "train", TRAIN, columns=columns)
    write_hub(tmp_path / "hub" / "data", "test", VAL, columns=columns)
    named = {"image_column": "img", "label_column": "fine_label"}
    contents = identify("hub", tmp_path, columns=columns)
    data = load(DataConfig(name="hub", image_size=16, contents=contents, **named), tmp_path)
    assert data.class_names == CLASSES
    with pytest.raises(
        DataError, match=r"has no column 'image' \(data\.image_column\); its columns are img, fine"
    ):
        load(DataConfig(name="hub", label_column="fine_label"), tmp_path)


def test_only_parquet_files_have_columns(root):
    for name in ("folders", "digits"):
        with pytest.raises(DataError, match=f"{name}: has no Parquet files, which alone have col"):
            load(DataConfig(name=name, image_column="img"), root)
        with pytest.raises(DataError, match=f"{name}: has no Parquet files, which alone have col"):
            identify(name, root, columns=Columns(image="img"))


def test_a_run_with_the_usual_columns_has_no_such_fields():
    usual = DataConfig(name="hub", image_column="image").model_dump()
    assert not {"image_column", "label_column"} & usual.keys()
    assert DataConfig(name="hub", image_column="img").model_dump()["image_column"] == "img"


def test_numbers_are_the_classes_where_the_file_names_none(tmp_path):
    found = splits(one_file(tmp_path, two((10, 9), classes=None)))["train"]
    assert (found.classes, found.labels.tolist()) == (("9", "10"), [1, 0])


def test_a_named_class_without_images_is_none(tmp_path):
    found = splits(one_file(tmp_path, two((2, 0))))["train"]
    assert (found.classes, found.labels.tolist()) == (("owl", "kite"), [1, 0])


def test_a_test_split_whose_classes_are_hidden_is_left_aside(root):
    for hidden in ([-1, -1], [None, None]):
        pq.write_table(two(hidden), root / "hub" / "data" / "test.parquet")
        assert list(splits(root / "hub")) == ["train", "val"]
    pq.write_table(two([-1, 0]), root / "hub" / "data" / "test.parquet")
    with pytest.raises(DataError, match=r"test\.parquet: 1 of 2 images have no class: column 'lab"):
        splits(root / "hub")
    pq.write_table(two([-1, -1]), root / "hub" / "data" / "validation-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"validation-.*: no image has a class"):
        splits(root / "hub")


def relabelled(folder):
    write_hub(folder, "validation", VAL[::-1])


def renamed(folder):
    write_hub(folder, "train", TRAIN, parts=3, classes=("owl", "wren", "hawk"))
    write_hub(folder, "validation", VAL, classes=("owl", "wren", "hawk"))


def repainted(folder):
    write_hub(folder, "train", [9, *TRAIN[1:]], parts=3)


def longer(folder):
    write_hub(folder, "validation", [*VAL, 9])


@pytest.mark.parametrize("change", [relabelled, renamed, repainted, longer])
def test_other_images_or_classes_are_others_and_the_same_elsewhere_are_the_same(root, change):
    before = identify("hub", root)
    assert (before.classes, before.images) == (3, {"train": 18, "val": 6})
    (root / "hub").rename(root / "moved")
    assert identify("moved", root) == before
    change(root / "moved" / "data")
    assert identify("moved", root).sha256 != before.sha256
    with pytest.raises(DataError, match="moved does not hold the images of this run"):
        load(DataConfig(name="moved", contents=before), root)


def test_an_interrupted_run_goes_on_with_the_same_bits(root):
    interrupted_run.check_same_bits(root, "hub")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            two().drop_columns("image"),
            r"no column 'image' \(data\.image_column\); its columns are label",
        ),
        (
            two().drop_columns("label"),
            r"no column 'label' \(data\.label_column\); its columns are image",
        ),
        (
            two(("a", "b"), label=pa.string()),
            "column 'label' holds string; labels must be integers",
        ),
        (
            two((0.0, 1.0), label=pa.float32()),
            "column 'label' holds float; labels must be integers",
        ),
        (two((0, 3)), "column 'label' holds 3, but the file names 3 classes, 0 to 2"),
        (two((0, -1)), "1 of 2 images have no class: column 'label' is negative or empty there"),
        (two(classes=("owl", "owl")), "two classes have the name 'owl'"),
        (two((0, 0)), "holds 1 class, at least 2 are needed"),
        (two()[:0], "no row in 1 files"),
        (
            hub_table(["a", "b"], (0, 1), kind=pa.string()),
            "column 'image' holds string; images must be a",
        ),
        (
            hub_table([None, b"x"], (0, 1)),
            "1 images of row group 0 have no bytes, only a path or nothing",
        ),
    ],
)
def test_a_file_that_holds_something_else_is_refused_in_one_line(tmp_path, made, message):
    with pytest.raises(DataError, match=message) as it:
        splits(one_file(tmp_path, made))
    assert "\n" not in str(it.value)
    assert "train.parquet" in str(it.value)


def test_lists_of_classes_must_be_the_same_in_all_files(root):
    write_hub(root / "hub" / "data", "validation", VAL, classes=("wren", "owl", "kite"))
    with pytest.raises(
        DataError, match=r"validation-.*: its list of classes is not that of train-"
    ):
        splits(root / "hub")
    other = hub_table([picture(0)[1]], [0], classes=None)
    pq.write_table(other, root / "hub" / "data" / "train-00002-of-00003.parquet")
    with pytest.raises(
        DataError, match=r"train-00002-of.*: its list of classes is not that of tra"
    ):
        splits(root / "hub")


def test_a_class_that_one_split_lacks_is_refused_by_name(root):
    write_hub(root / "hub" / "data", "validation", [7, 17])
    with pytest.raises(DataError, match=r"validation-.*: no image for 'kite', which train has"):
        load(DataConfig(name="hub", image_size=16), root)
    with pytest.raises(UserError, match="no image for 'kite', which train has"):
        look(root / "hub", root / "links")


def test_missing_parts_and_doubtful_names_are_refused(root):
    data = root / "hub" / "data"
    (data / "train-00001-of-00003.parquet").rename(data / "kept")
    with pytest.raises(DataError, match=r"train-00000-of-00003.* is of 3 parts; part 1 is missing"):
        splits(root / "hub")
    (data / "kept").rename(data / "train.parquet")
    with pytest.raises(DataError, match=r"00003\.parquet and train\.parquet are not of one split"):
        splits(root / "hub")
    for path in data.glob("train*"):
        path.unlink()
    with pytest.raises(DataError, match=r"hub/data: has no train-\*\.parquet\. Put"):
        splits(root / "hub")


def test_a_set_without_images_to_test_on_says_what_is_missing(tmp_path):
    write_hub(tmp_path / "hub" / "data", "train", TRAIN)
    with pytest.raises(
        DataError, match=r"or Parquet files in .*hub/data \(train-\*\.parquet, vali"
    ):
        load(DataConfig(name="hub"), tmp_path)
    config = DataConfig(name="hub", eval_splits=("val",), image_size=16)
    assert len(load(config, tmp_path).evals["val"]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS"),
        (b"PAR1 damaged", "cannot be read: "),
        (b"", "cannot be read: "),
    ],
)
def test_damaged_files_are_refused_in_one_line(root, content, message):
    path = root / "hub" / "data" / "train-00001-of-00003.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"Parquet file {path}: .*{message}") as it:
        load(DataConfig(name="hub", contents=None), root)
    assert "\n" not in str(it.value)


@pytest.mark.parametrize("decoder", [None, "torchvision"])
def test_bytes_that_are_no_image_are_refused_when_they_are_read(root, decoder):
    made = hub_table([b"no image"] * 3, [0, 1, 2])
    pq.write_table(made, root / "hub" / "data" / "validation-00000-of-00001.parquet")
    data = load(DataConfig(name="hub", image_size=16, decoder=decoder), root)
    with pytest.raises(DataError, match=r"parquet//image//0 cannot be read: it is no image that"):
        list(data.evals["test"].batches(2))


def test_row_groups_too_large_to_keep_are_refused(root, monkeypatch):
    monkeypatch.setattr(parquet, "KEPT_BYTES", 1000)
    with pytest.raises(DataError, match=r"images of row group 0 take .* write it again with small"):
        splits(root / "hub")


def test_without_pyarrow_the_extra_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'dskd-bench\[parquet\]'") as it:
        load(DataConfig(name="hub"), root)
    assert "\n" not in str(it.value)


def test_init_looks_into_them(root):
    found = look(root / "hub", root / "links")
    assert (found.classes, found.images, found.side) == (CLASSES, {"train": 18, "val": 6}, 20)


def test_parquet_files_beside_split_folders_are_left_aside(root):
    before = identify("folders", root)
    write_hub(root / "folders" / "data", "train", TRAIN, parts=2)
    (root / "folders" / "data" / "train-00001-of-00002.parquet").unlink()
    assert identify("folders", root) == before
