"""Folders of image files: splits, views, worker processes, clear errors."""

import multiprocessing
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision import transforms
from torchvision.datasets import ImageFolder

from suite.config import DataConfig
from suite.data import DataError, decoding, describe, identify, load, names, readers
from suite.data.decoding import MEAN, STD, normalised
from suite.data.listing import scan
from suite.device.pool import within
from suite.interface.rng import generator
from suite.train import evaluate


def write_images(folder, counts, side=40):
    """``counts``: class -> number of PNGs, of a colour and a gradient of their own."""
    stream = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = stream.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "imagefolder"
    write_images(folder / "train", {"ant": 9, "bee": 12, "cat": 9})
    write_images(folder / "val", {"ant": 2, "bee": 3, "cat": 2})
    return folder.parent


def open_folder(root, workers=0, **options):
    return load(DataConfig(name="imagefolder", image_size=16, **options), root, workers)


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert torch.equal(batch.image, other.image)
        assert torch.equal(batch.label, other.label)
        assert torch.equal(batch.index, other.index)


def test_a_rank_decodes_the_images_of_its_own_batches_alone(root, monkeypatch):
    """7 images in batches of 2: the second of two ranks has images 2, 3 and 6."""
    test, decoded = open_folder(root).evals["test"], []
    decode = readers.decode
    monkeypatch.setattr(readers, "decode", lambda path: decoded.append(path) or decode(path))
    own = test.batches(2, rank=1, world_size=2)
    assert torch.cat([batch.index for batch in own]).tolist() == [2, 3, 6]
    assert len(decoded) == 3
    alone = list(test.batches(2))
    assert_same(alone[1::2], test.batches(2, rank=1, world_size=2))


def test_ranks_share_an_evaluation_by_batches_and_the_record_reads_labels_without_images(
    root, monkeypatch
):
    asked, test = [], open_folder(root).evals["test"]

    class Rank:
        global_rank, world_size, device = 1, 2, torch.device("cpu")
        autocast = staticmethod(nullcontext)
        all_reduce = staticmethod(lambda tensor, **_: tensor)

    class Watched:
        labels, __len__ = test.labels, lambda _: len(test)

        def batches(self, *arguments):
            asked.append(arguments[1:])
            return test.batches(*arguments)

    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 2)
    evaluate.evaluate(Rank(), network, Watched())
    assert asked == [(1, 2)]
    monkeypatch.setattr(readers, "decode", None)
    assert test.labels.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_the_val_folder_is_the_test_split_and_part_of_train_validates(root):
    data = open_folder(root)
    assert data.num_classes == 3
    assert data.image_shape == (3, 16, 16)
    assert len(data.evals["val"]) == 3  # at least as many as classes
    assert len(data.evals["test"]) == 7
    assert len(data.train) == len(data.train_labels) == 27
    assert torch.bincount(data.train_labels).tolist() == [8, 11, 8]


def test_training_and_validation_files_are_disjoint_and_no_test_file_is_among_them(root):
    data = open_folder(root)
    train, val = (set(part.files.paths) for part in (data.train.loading, data.evals["val"]))
    assert len(train) == 27
    assert not train & val
    assert all(b"/imagefolder/train/" in path for path in train | val)


def test_the_test_folder_is_not_opened_unless_asked_for(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5})
    assert tuple(open_folder(tmp_path, eval_splits=("val",)).evals) == ("val",)
    with pytest.raises(DataError, match=r"imagefolder/val: .*Put one folder per class there"):
        open_folder(tmp_path, eval_splits=("test",))


def test_views_for_evaluation_are_those_of_torchvision(root):
    data = open_folder(root)
    standard = transforms.Compose(
        [
            transforms.Resize(18),  # 16 * 256 / 224
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    test = data.evals["test"]
    (batch,) = test.batches(10)
    for image, index in zip(batch.image, batch.index, strict=True):
        file = test.files.paths[index].decode()
        torch.testing.assert_close(image, standard(Image.open(file)), rtol=0, atol=2e-6)
    assert batch.label.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_random_views_are_those_of_torchvision_with_the_stream_of_the_image(root):
    from suite.interface.rng import seeded_globals

    data = open_folder(root)
    random = transforms.Compose(
        [
            transforms.RandomResizedCrop(16),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    batch = next(data.train.epoch(seed=5, epoch=2, batch_size=8))
    for image, index in zip(batch.image, batch.index.tolist(), strict=True):
        with seeded_globals(5, "augment", 2, index):
            view = random(Image.open(data.train.loading.files.paths[index].decode()))
        torch.testing.assert_close(image, view, rtol=0, atol=2e-6)


def test_two_worker_processes_give_the_batches_that_none_gives(root):
    alone, helped = (open_folder(root, workers) for workers in (0, 2))
    assert_same(alone.train.epoch(0, 1, 8), helped.train.epoch(0, 1, 8))
    assert_same(alone.evals["val"].batches(2), helped.evals["val"].batches(2))


def test_processes_that_stay_give_the_epochs_and_evaluations_that_none_gives(root, monkeypatch):
    """Whatever was begun before it was asked for: parts of 3, a start in the middle, other views.

    The last epoch has none after it.
    """
    monkeypatch.setattr(decoding, "PART", 3)
    alone, helped = (open_folder(root, workers) for workers in (0, 2))

    def epoch(data, number, first_step=0, views=()):
        return data.train.epoch(7, number, 8, first_step=first_step, views=views, epochs=4)

    for number, first_step, views in [
        *((1, 0, ()), (2, 0, ()), (3, 1, ()), (3, 0, ("redrawn",)), (4, 0, ("redrawn",))),
        *((4, 2, ()), (1, 0, ())),
    ]:
        expected = list(epoch(alone, number, first_step, views))
        found = list(epoch(helped, number, first_step, views))
        assert_same(expected, found)
        for one, other in zip(expected, found, strict=True):
            assert all(torch.equal(one.views[name], other.views[name]) for name in views)
        for split in ("val", "test"):
            assert_same(alone.evals[split].batches(5), helped.evals[split].batches(5))
    assert len(multiprocessing.active_children()) == 2
    helped.close()
    assert not multiprocessing.active_children()


def test_an_epoch_begins_the_next_unless_it_is_the_last(root, monkeypatch):
    drawn, data = [], open_folder(root, workers=2)

    def order(seed, stream, epoch):
        drawn.append((stream, epoch))
        return generator(seed, stream, epoch)

    monkeypatch.setattr("suite.data.folder.generator", order)
    for epoch, begun in ((1, 2), (2, 3), (3, 3)):
        list(data.train.epoch(7, epoch, 8, epochs=3))
        assert {stream for stream, _ in drawn} == {"order"}
        assert max(epoch for _, epoch in drawn) == begun
        drawn.clear()
    data.close()


def test_starting_in_the_middle_gives_the_rest_of_the_epoch(root):
    data = open_folder(root)
    whole = list(data.train.epoch(0, 1, 8))
    assert [len(batch) for batch in whole] == [8, 8, 8, 3]
    assert_same(whole[2:], data.train.epoch(0, 1, 8, first_step=2))


def test_two_ranks_see_the_images_that_one_sees(root):
    data = open_folder(root)
    ranks = [data.train.epoch(0, 1, 8, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, first, second in zip(list(data.train.epoch(0, 1, 8))[:3], *ranks, strict=True):
        assert torch.equal(whole.image[0::2], first.image)
        assert torch.equal(whole.index[1::2], second.index)


def test_another_epoch_or_seed_gives_other_views_and_another_order(root):
    data = open_folder(root)
    first = next(data.train.epoch(0, 1, 8))
    for other in (next(data.train.epoch(0, 2, 8)), next(data.train.epoch(1, 1, 8))):
        assert not torch.equal(first.index, other.index)
        assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_random_stream_does_not_move(root, workers):
    """It drives dropout: what loads images must not shift it, or resume would not be exact."""
    data = open_folder(root, workers)
    before = torch.get_rng_state()
    list(data.train.epoch(0, 1, 8))
    list(data.evals["test"].batches(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_plain_and_unaugmented_images_are_the_same(root):
    data = open_folder(root, augment="none")
    plain = torch.cat([batch.image for batch in data.train.plain(10)])
    for batch in data.train.epoch(0, 1, 10):
        assert torch.equal(batch.image, plain[batch.index])


def test_a_limit_is_stratified_and_nested(root):
    small, large = (
        set(open_folder(root, train_limit=count).train.loading.files.paths) for count in (6, 12)
    )
    assert len(small) == 6
    assert small < large
    with pytest.raises(DataError, match=r"data\.train_limit 28: imagefolder has 27 images"):
        open_folder(root, train_limit=28)


def test_a_missing_folder_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match=r"imagenet/train: .*<class>/<image>\.jpg") as caught:
        load(DataConfig(name="imagenet"), tmp_path)
    assert "DSKD_DATA_ROOT" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_classes_in_val_than_in_train_are_refused(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5})
    write_images(tmp_path / "imagefolder" / "val", {"ant": 2, "cow": 2})
    with pytest.raises(DataError, match=r"imagefolder/val: 'cow' without a folder") as caught:
        open_folder(tmp_path)
    assert "no folder for 'bee', which train has" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_class_folder_is_named(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5, "cow": 0})
    with pytest.raises(DataError, match=r"imagefolder/train/cow: is empty; allowed: \.jpg"):
        open_folder(tmp_path, eval_splits=())


def test_a_class_folder_without_images_is_named_with_what_it_holds(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5, "cow": 0})
    (tmp_path / "imagefolder" / "train" / "cow" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"cow: none of its 1 files is an image \(notes.txt\)"):
        open_folder(tmp_path, eval_splits=())


def test_images_without_class_folders_are_refused(tmp_path):
    write_images(tmp_path / "imagefolder", {"train": 5})
    with pytest.raises(DataError, match=r"train: holds 0 class folders, at least 2 are needed"):
        open_folder(tmp_path, eval_splits=())


def test_hidden_files_and_other_kinds_of_files_are_left_aside(tmp_path, root):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    train = tmp_path / "imagefolder" / "train"
    (train / ".ipynb_checkpoints").mkdir()
    (train / "bee" / ".ipynb_checkpoints").mkdir()
    for name in ("._000.png", ".ipynb_checkpoints/000.png", "Thumbs.db"):
        (train / "bee" / name).write_text("not an image")
    found, plain = open_folder(tmp_path), open_folder(root)
    assert found.class_names == plain.class_names == ("ant", "bee", "cat")
    assert found.train_labels.tolist() == plain.train_labels.tolist()


def test_a_hidden_class_is_refused_and_not_left_out(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5, ".net": 5})
    with pytest.raises(DataError, match=r"train: \.net holds images and starts with a dot; rename"):
        open_folder(tmp_path, eval_splits=())


def test_images_in_folders_of_folders_have_the_order_of_torchvision(tmp_path):
    train = tmp_path / "imagefolder" / "train"
    write_images(train, {"ant": 3, "bee/b": 2, "bee/a": 2, "bee/a-b": 2, "cat": 2})
    write_images(tmp_path / "other", {"x": 2})
    (train / "cat" / "link").symlink_to(tmp_path / "other" / "x")
    listing = scan(train)
    theirs = ImageFolder(str(train))
    assert list(listing.classes) == theirs.classes
    assert [f"{train}/{path.decode()}" for path in listing.paths] == [it for it, _ in theirs.imgs]
    assert listing.labels.tolist() == theirs.targets


def test_with_a_test_folder_the_validation_folder_validates(tmp_path):
    folder = tmp_path / "imagefolder"
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        write_images(folder / split, {"ant": count, "bee": count})

    def files(split):
        return {path.decode().split("imagefolder/")[1] for path in split.files.paths}

    data = open_folder(tmp_path)
    parts = (data.train.loading, data.evals["val"], data.evals["test"])
    for part, split, count in zip(parts, ("train", "val", "test"), (12, 6, 4), strict=True):
        assert len(files(part)) == len(part) == count
        assert all(file.startswith(f"{split}/") for file in files(part))
    whole = open_folder(tmp_path, train_split="trainval")
    assert files(whole.train.loading) == files(data.train.loading) | files(data.evals["val"])
    assert whole.train_labels.tolist() == [0] * 6 + [1] * 6 + [0] * 3 + [1] * 3
    assert tuple(whole.evals) == ("test",)


def test_an_unlabelled_test_folder_is_left_aside(tmp_path, root):
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    write_images(tmp_path / "imagefolder" / "test", {"images": 4})
    assert len(open_folder(tmp_path).evals["test"]) == 7


@pytest.mark.parametrize("name", ["birds", "Vögel 鳥", "my birds (v2)", "birds_v2.1", "100%"])
def test_a_folder_may_have_any_name(tmp_path, root, name):
    shutil.copytree(root / "imagefolder", tmp_path / name)
    data = load(DataConfig(name=name, image_size=16), tmp_path)
    assert (data.name, data.class_names) == (name, ("ant", "bee", "cat"))
    assert name in names(tmp_path)
    assert describe(name, tmp_path)[3].startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", [".birds", "..", "a/b", "/tmp", "a\nb", "a\0b"])
def test_a_name_that_is_no_folder_name_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(DataError, match=r"data\.name .*must be the name of a folder") as caught:
        load(DataConfig(name=name), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_folders_that_are_there(tmp_path, root):
    shutil.copytree(root / "imagefolder", tmp_path / "birds")
    (tmp_path / "no data set").mkdir()
    message = (
        r"unknown data set 'bird' \(did you mean birds\?\); known: birds, cifar10, .*bird/train/"
    )
    with pytest.raises(DataError, match=message) as caught:
        load(DataConfig(name="bird"), tmp_path)
    assert "no data set" not in str(caught.value)


def test_too_few_images_are_refused(tmp_path):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 1, "bee": 1})
    with pytest.raises(DataError, match="2 images are too few to train"):
        open_folder(tmp_path, eval_splits=("val",))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", ["text", "cut"])
def test_a_damaged_image_is_named_in_one_line(tmp_path, damage, workers):
    write_images(tmp_path / "imagefolder" / "train", {"ant": 5, "bee": 5})
    for file in (tmp_path / "imagefolder" / "train" / "bee").iterdir():
        content = file.read_bytes()
        file.write_bytes(b"no image" if damage == "text" else content[: len(content) // 2])
    data = open_folder(tmp_path, workers, eval_splits=())
    with pytest.raises(DataError, match=r"^image .*/bee/00\d\.png cannot be read: .*") as caught:
        list(data.train.plain(4))
    assert "\n" not in str(caught.value)


@pytest.fixture
def tiny_imagenet(tmp_path):
    """The layout of tiny-imagenet-200 with two classes: the test images have no labels."""
    folder = tmp_path / "tiny-imagenet-200"
    for label, count in (("n01443537", 6), ("n01629819", 6)):
        write_images(folder / "train" / label, {"images": count})
        (folder / "train" / label / f"{label}_boxes.txt").write_text("n_0.JPEG\t0\t10\t63\t58\n")
    write_images(folder / "val", {"images": 3})
    write_images(folder / "test", {"images": 2})
    lines = ["000.png\tn01629819\t0\t32\t44\t62", "001.png\tn01443537\t52\t55\t57\t59"]
    lines.append("002.png\tn01629819\t4\t0\t60\t55")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_tiny_imagenet_is_read_as_it_is_published(tiny_imagenet):
    config = DataConfig(name=tiny_imagenet.name, image_size=16)
    data = load(config, tiny_imagenet.parent)
    assert data.class_names == ("n01443537", "n01629819")
    test = data.evals["test"]
    assert test.labels.tolist() == [0, 1, 1]
    names = [path.decode().rpartition("/")[2] for path in test.files.paths]
    assert names == ["001.png", "000.png", "002.png"]
    assert len(data.train) + len(data.evals["val"]) == 12
    assert next(test.batches(3)).image.shape == (3, 3, 16, 16)


def test_other_annotations_are_other_images(tiny_imagenet):
    file = tiny_imagenet / "val" / "val_annotations.txt"
    before = identify(tiny_imagenet.name, tiny_imagenet.parent)
    file.write_text(file.read_text().replace("002.png\tn01629819", "002.png\tn01443537"))
    assert identify(tiny_imagenet.name, tiny_imagenet.parent) != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("000.png", "9.png"), "3 files, the first wrong one is '9.png"),
        (lambda text: text.partition("\n")[2], "2 lines for 3 files"),
    ],
)
def test_annotations_that_do_not_fit_the_files_are_refused(tiny_imagenet, change, message):
    file = tiny_imagenet / "val" / "val_annotations.txt"
    file.write_text(change(file.read_text()))
    with pytest.raises(DataError, match=message):
        load(DataConfig(name=tiny_imagenet.name), tiny_imagenet.parent)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twelve JPEG files of 90x120 pixels cut from a photograph, one of them grey, and a PNG."""
    root, stream = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    photograph = Image.fromarray(load_sample_image("china.jpg"))
    for split, count in (("train", 4), ("val", 2)):
        for label in ("left", "right"):
            place = root / "china" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                left, top = (int(it) for it in stream.integers(0, 200, 2))
                cut = photograph.resize((120, 90), box=(left, top, left + 400, top + 220))
                cut = cut.convert("L") if number == 0 else cut
                cut.save(place / f"{number}.jpg", quality=90)
    cut.save(place / "9.png")
    return root


def of_decoder(photographs, decoder, workers=0):
    config = DataConfig(
        name="china", image_size=32, decoder=decoder, train_split="trainval", eval_splits=["test"]
    )
    return load(config, photographs, workers)


@pytest.mark.parametrize("training", [True, False])
def test_torchvisions_decoder_gives_the_views_of_pillow_up_to_rounding(photographs, training):
    """The same crops and flips; a byte may differ by 1, from the middle crop by 2."""
    steps = [
        list(data.train.epoch(0, 1, 4) if training else data.evals["test"].batches(4))
        for data in (of_decoder(photographs, None), of_decoder(photographs, "torchvision"))
    ]
    std = torch.tensor(STD).view(3, 1, 1)
    for batch, other in zip(*steps, strict=True):
        assert torch.equal(batch.index, other.index)
        bytes_apart = ((batch.image - other.image) * std * 255).abs()
        assert bytes_apart.max() < 2.01
        assert bytes_apart.mean() < 0.1


def test_torchvisions_decoder_goes_on_in_the_middle_and_with_workers(photographs):
    alone = list(of_decoder(photographs, "torchvision").train.epoch(0, 1, 2))
    helped = of_decoder(photographs, "torchvision", workers=2).train
    assert_same(alone[1:], helped.epoch(0, 1, 2, first_step=1))


def test_a_damaged_jpeg_is_refused_by_torchvisions_decoder_too(photographs, tmp_path):
    shutil.copytree(photographs / "china", tmp_path / "china")
    file = tmp_path / "china" / "train" / "left" / "1.jpg"
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"left/1\.jpg cannot be read: image file is truncated"):
        list(of_decoder(tmp_path, "torchvision").train.epoch(0, 1, 2))


def test_a_decoder_is_part_of_the_configuration_and_only_of_image_folders(tmp_path):
    assert "decoder" not in DataConfig(name="china").model_dump()
    assert DataConfig(name="china", decoder="torchvision").model_dump()["decoder"] == "torchvision"
    with pytest.raises(DataError, match=r"data\.decoder torchvision: only image folders"):
        load(DataConfig(name="fake", decoder="torchvision"), tmp_path)


def test_bytes_are_normalised_image_by_image_with_the_bits_of_the_whole_batch():
    raw = torch.arange(256, dtype=torch.uint8).repeat(3 * 2).view(2, 3, 16, 16)
    mean, std = (torch.tensor(it).view(3, 1, 1) for it in (MEAN, STD))
    expected = (raw.float() / 255 - mean) / std
    assert torch.equal(normalised([raw], mean, std), expected)
    assert torch.equal(normalised([raw[:1], raw[1:]], mean, std), expected)


@pytest.mark.parametrize(
    ("room_mb", "workers", "expected"),
    [
        (None, 4, (4, 4)),  # no such folder
        (8000, 0, (0, None)),
        (8000, 16, (16, 4)),
        (2 * 33, 8, (8, 4)),  # 8 x 4 batches of 1 MB and the one in use
        (2 * 32, 8, (8, 3)),
        (2 * 5, 8, (4, 1)),  # fewer processes, one batch each
        (2, 8, (0, None)),  # not one beside the one in use
    ],
)
def test_processes_and_batches_ahead_fit_into_half_of_the_shared_memory(
    room_mb, workers, expected, caplog
):
    room = None if room_mb is None else room_mb * 10**6
    assert within(room, workers, 10**6) == expected
    assert ("--shm-size" in caplog.text) == (
        expected not in ((workers, 4), (0, None)) or room == 2e6
    )


def test_in_a_container_without_shared_memory_images_are_decoded_all_the_same(root, monkeypatch):
    """Docker's 64 MB hold none of these batches, were they as large as ImageNet's."""
    monkeypatch.setattr("suite.device.pool.shared_memory_bytes", lambda: 1000)
    alone, helped = open_folder(root).train, open_folder(root, workers=2).train
    assert_same(list(alone.epoch(0, 1, 4)), helped.epoch(0, 1, 4))
