"""Further views of training images, of arrays on the device and of image folders."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor

from suite.config import DataConfig
from suite.data import DataError, load, views
from suite.interface.rng import seeded_globals

NAMES = ("redrawn", "redrawn/2", "randaugment")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An image folder with 27 training images of 24x20 pixels."""
    folder, stream = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 15), ("val", 2)):
        for label in ("ant", "bee"):
            place = folder / "photographs" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = stream.integers(0, 256, (24, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module", params=["arrays", "folder"])
def train(request, root):
    """Training images in memory and in files."""
    if request.param == "arrays":
        return load(DataConfig(name="fake", train_limit=40), root).train
    return load(DataConfig(name="photographs", image_size=16), root).train


def whole_epoch(train, names, epoch=1, **options):
    return list(train.epoch(5, epoch, 8, views=names, **options))


def test_neither_the_first_view_nor_another_depends_on_what_is_asked_for_beside_it(train):
    alone, one, all_of_them = (
        whole_epoch(train, names) for names in ((), ("randaugment",), NAMES[::-1])
    )
    for plain, some, many in zip(alone, one, all_of_them, strict=True):
        assert plain.views == {}
        assert torch.equal(plain.image, some.image)
        assert torch.equal(plain.image, many.image)
        assert torch.equal(some.views["randaugment"], many.views["randaugment"])
        assert torch.equal(plain.index, many.index)


def test_views_are_drawn_anew_for_each_name_and_epoch(train):
    first = whole_epoch(train, NAMES)[0]
    again = whole_epoch(train, NAMES, epoch=2)[0]
    images = [first.image, *first.views.values(), *again.views.values()]
    assert [image.shape for image in images] == [first.image.shape] * 7
    for place, one in enumerate(images):
        assert not any(torch.equal(one, other) for other in images[place + 1 :])


def test_an_epoch_goes_on_in_the_middle_and_over_two_ranks_with_the_same_views(train):
    alone = whole_epoch(train, NAMES)
    rest = whole_epoch(train, NAMES, first_step=2)
    halves = [whole_epoch(train, NAMES, rank=rank, world_size=2) for rank in (0, 1)]
    for name in NAMES:
        for batch, later in zip(alone[2:], rest, strict=True):
            assert torch.equal(batch.views[name], later.views[name])
        for batch, *parts in zip(alone, *halves, strict=False):
            for rank, part in enumerate(parts):
                rows = batch.views[name][rank::2][: len(part)]
                assert torch.equal(rows, part.views[name])


def test_the_global_random_streams_neither_matter_nor_move(train):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = whole_epoch(train, NAMES)[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = whole_epoch(train, NAMES)[0]
    assert all(torch.equal(first.views[name], second.views[name]) for name in NAMES)


def test_without_augmentation_a_redrawn_view_is_the_image_itself(root):
    for config in (
        DataConfig(name="fake", train_limit=40, augment="none"),
        DataConfig(name="photographs", image_size=16, augment="none"),
    ):
        batch = whole_epoch(load(config, root).train, ("redrawn",))[0]
        assert torch.equal(batch.views["redrawn"], batch.image)


def test_the_strong_view_is_torchvisions_randaugment_with_the_stream_of_the_image(root):
    data = load(DataConfig(name="photographs", image_size=16, augment="none"), root)
    batch = whole_epoch(data.train, ("randaugment",))[0]
    mean, std = (torch.tensor(it).view(3, 1, 1) for it in (data.mean, data.std))
    for image, index in zip(batch.views["randaugment"], batch.index.tolist(), strict=True):
        file = data.train.loading.files.paths[index].decode()
        plain = transforms.Compose([transforms.Resize(18), transforms.CenterCrop(16)])
        with seeded_globals(5, "augment", 1, "randaugment", "change", index):
            expected = transforms.RandAugment(2, 10)(plain(Image.open(file)))
        torch.testing.assert_close(image, (pil_to_tensor(expected) / 255 - mean) / std)


def test_grey_images_and_small_ones_have_strong_views(tmp_path):
    batch = next(load(DataConfig(name="digits"), tmp_path).train.epoch(0, 1, 64, views=NAMES))
    changed = (batch.views["randaugment"] != batch.image).flatten(1).any(1)
    assert int(changed.sum()) > 50


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("weak",), r"unknown view 'weak'; known: randaugment, redrawn"),
        (("redrawn", "redrawn"), r"views redrawn, redrawn: a name twice; write redrawn, redrawn/2"),
    ],
)
def test_wrong_names_are_refused_in_one_line(names, message):
    with pytest.raises(DataError, match=message):
        views.check(names)
