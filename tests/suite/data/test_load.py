"""Data sets by name: sizes, splits, what is read and what is not."""

import gzip
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from suite.config import DataConfig
from suite.data import DataError, describe, load, names, sets


def images_of(split):
    return torch.cat([batch.image for batch in split.batches(500)])


def training_images(data):
    return torch.cat([batch.image for batch in data.train.plain(500)])


def digest(images):
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]


def rows(images):
    return {image.numpy().tobytes() for image in images}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load(DataConfig(name="digits"), tmp_path_factory.mktemp("empty"))


def test_digits_have_800_training_200_validation_and_797_test_images(digits):
    assert digits.num_classes == 10
    assert digits.image_shape == (1, 8, 8)
    assert len(digits.train) == len(digits.train_labels) == 800
    assert {split: len(images) for split, images in digits.evals.items()} == {
        "val": 200,
        "test": 797,
    }


def test_the_splits_of_digits_are_these_for_ever(digits):
    assert digest(digits.train.pixels.images) == "33061001cee8839d"
    assert digest(digits.evals["val"].images) == "9b232e060a767bfb"
    assert digest(digits.evals["test"].images) == "64c4afd8c3ceb92f"


def test_the_splits_of_digits_are_stratified(digits):
    evals = digits.evals
    for split, share in ((digits.train.pixels, 80), (evals["val"], 20), (evals["test"], 80)):
        counts = torch.bincount(split.labels)
        assert (counts - share).abs().max() <= 3


def test_the_splits_of_digits_are_disjoint_and_together_all_of_scikit_learns(digits):
    from sklearn.datasets import load_digits

    parts = [digits.train.pixels, *digits.evals.values()]
    images = torch.cat([part.images for part in parts]).flatten(1)
    labels = torch.cat([part.labels for part in parts])
    raw = load_digits()
    whole = (raw.data * 255 / 16).round().astype(int).tolist()
    found = zip(images.tolist(), labels.tolist(), strict=True)
    assert sorted(found) == sorted(zip(whole, raw.target.tolist(), strict=True))


@pytest.mark.parametrize("damage", ["other", "cut", "gone"])
def test_a_damaged_file_of_digits_is_one_clear_line(tmp_path, monkeypatch, damage):
    file = tmp_path / "sklearn" / "datasets" / "data" / "digits.csv.gz"
    file.parent.mkdir(parents=True)
    content = gzip.compress(b"0,1,2\n")
    if damage != "gone":
        file.write_bytes(content if damage == "other" else content[:-9])
    package = SimpleNamespace(origin=str(tmp_path / "sklearn" / "__init__.py"))
    monkeypatch.setattr("suite.data.sets.digits.find_spec", lambda _: package)
    with pytest.raises(DataError, match=r"digits\.csv\.gz: .*Install scikit-learn again") as caught:
        load(DataConfig(name="digits"), tmp_path)
    assert "\n" not in str(caught.value)


def test_digits_over_training_and_validation_have_mean_0_and_variance_1(tmp_path):
    data = load(DataConfig(name="digits", train_split="trainval", augment="none"), tmp_path)
    images = training_images(data)
    assert len(images) == 1000
    assert abs(images.mean().item()) < 1e-3
    assert abs(images.std().item() - 1) < 1e-3


@pytest.mark.parametrize("name", ["digits", "fake"])
def test_standard_augmentation_of_small_images_pads_in_proportion(name, tmp_path):
    train = load(DataConfig(name=name), tmp_path).train
    assert train.padding == {"digits": 1, "fake": 2}[name]
    assert train.flip == (name == "fake")
    plain = load(DataConfig(name=name, augment="none"), tmp_path).train
    assert (plain.padding, plain.flip) == (0, False)


@pytest.mark.parametrize("splits", [(), ("val",), ("test",), ("val", "test")])
def test_only_the_splits_asked_for_are_there(splits, tmp_path):
    data = load(DataConfig(name="fake", eval_splits=splits), tmp_path)
    assert tuple(data.evals) == splits


def test_test_images_are_not_read_unless_asked_for(monkeypatch, tmp_path):
    def refuse_test(root, train):
        assert train, "the test split was read"
        return fake.read(root, train)

    fake = sets.find("fake")
    monkeypatch.setattr(sets, "find", lambda _: replace(fake, read=refuse_test))
    for split in ("train", "trainval"):
        config = DataConfig(name="fake", eval_splits=("val",), train_split=split)
        load(config, tmp_path)
    with pytest.raises(AssertionError, match="the test split was read"):
        load(DataConfig(name="fake", eval_splits=("test",)), tmp_path)


def test_a_data_set_without_test_split_holds_no_test_image(tmp_path):
    """By value, not by name: no tensor reachable from the data set shows one of them."""
    test = rows(images_of(load(DataConfig(name="fake"), tmp_path).evals["test"]))
    data = load(DataConfig(name="fake", eval_splits=("val",), train_split="trainval"), tmp_path)
    assert len(test) == 200
    assert not test & rows(training_images(data))


def test_trainval_trains_on_training_and_validation_images_and_has_no_validation(tmp_path):
    whole = load(DataConfig(name="fake", train_split="trainval"), tmp_path)
    parts = load(DataConfig(name="fake"), tmp_path)
    both = rows(training_images(parts)) | rows(images_of(parts.evals["val"]))
    assert rows(training_images(whole)) == both
    assert len(both) == 640
    assert tuple(whole.evals) == ("test",)


def test_a_limit_takes_part_of_the_training_split_and_of_larger_limits(tmp_path):
    found = {
        count: rows(training_images(load(DataConfig(name="fake", train_limit=count), tmp_path)))
        for count in (50, 100, 512)
    }
    assert [len(images) for images in found.values()] == [50, 100, 512]
    assert found[50] < found[100] < found[512]
    limited = load(DataConfig(name="fake", train_limit=50), tmp_path)
    assert torch.bincount(limited.train_labels).tolist() == [5] * 10
    assert len(limited.evals["val"]) == 128


def test_a_limit_above_the_number_of_images_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.train_limit 513: fake has 512 images"):
        load(DataConfig(name="fake", train_limit=513), tmp_path)


def test_images_are_resized_once_and_smoothly(tmp_path):
    from torchvision.transforms import functional

    large = load(DataConfig(name="fake", image_size=24, augment="none"), tmp_path)
    own = load(DataConfig(name="fake", augment="none"), tmp_path)
    assert large.image_shape == (3, 24, 24)
    assert large.evals["test"].images.shape == (200, 3, 24, 24)
    theirs = functional.resize(own.train.pixels.images, [24, 24], antialias=True)
    assert (large.train.pixels.images.int() - theirs.int()).abs().max() <= 1  # rounding
    assert load(DataConfig(name="fake", image_size=16), tmp_path).train.padding == 2
    assert load(DataConfig(name="fake", image_size=24), tmp_path).train.padding == 3


def test_fake_images_are_the_same_everywhere_and_learnable(tmp_path):
    data = load(DataConfig(name="fake", augment="none"), tmp_path)
    images, labels = training_images(data), data.train_labels
    means = torch.stack([images[labels == label].mean(0) for label in range(10)])
    test = data.evals["test"]
    nearest = torch.cdist(images_of(test).flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.9
    assert digest(data.train.pixels.images) == "5d3af84a33b913ff"


def test_an_unknown_data_set_is_refused_with_the_nearest_name(tmp_path):
    for refuse in (
        lambda: load(DataConfig(name="cifar"), tmp_path),
        lambda: describe("cifar", tmp_path),
    ):
        with pytest.raises(DataError, match=r"unknown data set 'cifar' \(did you mean cifar10"):
            refuse()


def test_every_data_set_is_described_without_its_files(tmp_path):
    ships = {"digits", "cifar10", "cifar100", "fake", "fashion_mnist", "stl10"}
    assert set(names()) == ships | {"imagenet", "imagefolder"}
    described = {name: describe(name, tmp_path) for name in names()}
    assert described["cifar100"] == (
        "100",
        "45,000 / 5,000 / 10,000",
        "3x32x32",
        str(tmp_path / "cifar-100-python"),
    )
    assert described["digits"][:3] == ("10", "800 / 200 / 797", "1x8x8")
    assert described["imagenet"][3].startswith(str(tmp_path / "imagenet"))


def test_blocks_of_classes_are_disjoint_and_together_the_whole(tmp_path):
    whole = load(DataConfig(name="digits"), tmp_path)
    blocks = [load(DataConfig(name="digits", classes=5, class_block=it), tmp_path) for it in (0, 1)]
    first = load(DataConfig(name="digits", classes=5), tmp_path)
    for split in ("train", "val", "test"):
        images, labels = images_and_labels(whole, split)
        for number, block in enumerate(blocks):
            rows = labels // 5 == number
            own, renumbered = images_and_labels(block, split)
            assert torch.equal(own, images[rows])
            assert torch.equal(renumbered, labels[rows] - 5 * number)
        assert torch.equal(
            images_and_labels(first, split)[0], images_and_labels(blocks[0], split)[0]
        )
    assert [block.num_classes for block in blocks] == [5, 5]


def images_and_labels(data, split):
    whole = data.train.plain(10_000) if split == "train" else data.evals[split].batches(10_000)
    (batch,) = whole
    return batch.image, batch.label


def test_a_block_that_is_not_there_is_refused(tmp_path):
    config = DataConfig(name="digits", classes=4, class_block=2)
    with pytest.raises(
        DataError, match=r"^data\.class_block 2: digits has 10 classes; with classes 4, "
    ):
        load(config, tmp_path)
    with pytest.raises(ValidationError, match="class_block 0: needs classes"):
        DataConfig(name="digits", class_block=0)


def test_only_a_block_that_was_asked_for_is_in_the_record():
    assert "class_block" not in DataConfig(name="digits", classes=5).model_dump()
    assert DataConfig(name="digits", classes=5, class_block=0).model_dump()["class_block"] == 0
