"""Which images a folder holds: what counts, what is kept of it, what is said when it changed."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from suite.config import DataConfig
from suite.data import DataError, identify, load
from suite.data import contents as module


@pytest.fixture
def root(tmp_path):
    """A data root with the folder ``birds``; uncompressed images, so that all files are as long."""
    stream = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("owl", "wren"):
            (tmp_path / "birds" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = stream.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "birds" / split / name / f"{number}.bmp")
    return tmp_path


def paint(path, shade, side=8):
    Image.fromarray(np.full((side, side, 3), shade, dtype=np.uint8)).save(path)


CHANGES = {
    "an image more": lambda birds: paint(birds / "train" / "owl" / "9.bmp", 1),
    "an image less": lambda birds: (birds / "train" / "owl" / "3.bmp").unlink(),
    "an image of another size": lambda birds: paint(birds / "val" / "wren" / "1.bmp", 1, 9),
    "another image, as large": lambda birds: paint(birds / "train" / "owl" / "0.bmp", 1),
    "another name": lambda birds: (birds / "train" / "owl").rename(birds / "train" / "hawk"),
    "an image in another class": lambda birds: (birds / "train" / "owl" / "3.bmp").rename(
        birds / "train" / "wren" / "4.bmp"
    ),
    "a test split": lambda birds: shutil.copytree(birds / "val", birds / "test"),
    "no test images": lambda birds: shutil.rmtree(birds / "val"),
}
NO_CHANGES = {
    "another place": lambda birds: birds.rename(birds.with_name("moved")),
    "another time": lambda birds: os.utime(birds / "train" / "owl" / "0.bmp", (1, 1)),
    "notes": lambda birds: (birds / "train" / "owl" / "notes.txt").write_text("fine birds"),
    "a hidden file": lambda birds: (birds / "train" / "owl" / "._0.bmp").write_text("fork"),
}


def test_the_sets_that_ship_have_no_contents_of_their_own(tmp_path):
    assert identify("digits", tmp_path) is None
    assert identify("cifar100", tmp_path) is None


def test_it_counts_and_tells_folders_apart(root):
    found = identify("birds", root)
    assert (found.classes, found.images) == (2, {"train": 8, "val": 4})
    shutil.copytree(root / "birds", root / "copies")
    assert identify("copies", root) == found


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_are_others(root, change):
    before = identify("birds", root)
    CHANGES[change](root / "birds")
    assert identify("birds", root).sha256 != before.sha256


@pytest.mark.parametrize("change", NO_CHANGES)
def test_the_same_images_are_the_same(root, change):
    before = identify("birds", root)
    NO_CHANGES[change](root / "birds")
    assert identify("moved" if change == "another place" else "birds", root) == before


def test_a_run_of_other_images_is_refused_in_one_line_with_the_cure(root):
    config = DataConfig(name="birds", image_size=8, contents=identify("birds", root))
    assert load(config, root).num_classes == 2
    paint(root / "birds" / "train" / "owl" / "9.bmp", 1)
    with pytest.raises(DataError) as caught:
        load(config, root)
    message = str(caught.value)
    assert message.startswith(f"image folder {root}/birds does not hold the images of this run: ")
    assert "expected 2 classes, 8 train and 4 val images (" in message
    assert "; found 2 classes, 9 train and 4 val images (" in message
    assert "Put the images back as they were, or start the sweep again" in message
    assert "\n" not in message


@pytest.fixture
def large(root, monkeypatch):
    """The same, with all its folders an hour old, and large enough to be kept."""
    monkeypatch.setattr(module, "KEPT_FROM", 12)
    settle(root)
    return root


def settle(root):
    for folder in [root / "birds", *(root / "birds").rglob("*/")]:
        os.utime(folder, (1_700_000_000, 1_700_000_000))


def refuse(*_):
    raise AssertionError("the files were looked at")


def test_a_large_folder_is_looked_at_once(large, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    found = identify("birds", large, cache)
    monkeypatch.setattr(module, "_digest", refuse)
    monkeypatch.setattr(module, "splits", refuse)
    assert identify("birds", large, cache) == found
    monkeypatch.undo()
    assert load(DataConfig(name="birds", contents=found), large, cache=cache).num_classes == 2


@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"another image, as large"}))
def test_what_is_kept_of_a_large_folder_ends_with_a_change_of_its_directories(
    large, tmp_path, change
):
    cache = tmp_path / "cache"
    before = identify("birds", large, cache)
    if change == "an image of another size":  # in a new file: what tools do that replace one
        (large / "birds" / "val" / "wren" / "1.bmp").unlink()
    CHANGES[change](large / "birds")
    assert identify("birds", large, cache).sha256 != before.sha256


def test_small_folders_and_those_that_just_changed_are_not_kept(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    settle(root)
    identify("birds", root, cache)
    assert not cache.exists()
    monkeypatch.setattr(module, "KEPT_FROM", 12)
    (root / "birds" / "train" / "owl" / "9.bmp").touch()
    identify("birds", root, cache)
    assert not cache.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"directories": {}}', '{"directories": 3}'])
def test_a_damaged_cache_is_made_anew(large, tmp_path, content):
    cache = tmp_path / "cache"
    found = identify("birds", large, cache)
    (file,) = cache.iterdir()
    whole = json.loads(file.read_text())
    assert whole["folder"] == str(large / "birds")
    file.write_text(content)
    assert identify("birds", large, cache) == found
    assert json.loads(file.read_text()) == whole


def test_a_cache_that_cannot_be_written_costs_time_alone(large, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert identify("birds", large, tmp_path / "cache").classes == 2


def test_a_link_to_nothing_is_named(root):
    (root / "birds" / "train" / "owl" / "5.bmp").symlink_to(root / "nowhere.bmp")
    with pytest.raises(DataError, match=r"image .*/owl/5\.bmp cannot be read: No such file"):
        identify("birds", root)
