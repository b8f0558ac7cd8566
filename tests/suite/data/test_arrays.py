"""Augmentation on the device: the same images and the same distribution as torchvision's."""

import itertools

import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

from suite.data import arrays
from suite.data.arrays import ArrayTrain, Pixels, crop_and_flip

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CPU = torch.device("cpu")


def random_bytes(*shape):
    stream = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream)


def pixels(count=150, size=32):
    return Pixels.of(random_bytes(count, 3, size, size), torch.arange(count) % 10, MEAN, STD)


def training(count=150, padding=4, flip=True, size=32):
    return ArrayTrain(pixels(count, size), padding, flip)


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert torch.equal(batch.image, other.image)
        assert torch.equal(batch.label, other.label)
        assert torch.equal(batch.index, other.index)


def test_every_offset_and_flip_gives_the_pixels_that_torchvision_gives():
    draws = list(itertools.product(range(9), range(9), (False, True)))
    images = random_bytes(len(draws), 3, 32, 32)
    offsets = torch.tensor([(top, left) for top, left, _ in draws])
    flips = torch.tensor([flip for _, _, flip in draws])
    found = crop_and_flip(images, offsets, flips, 4)
    for image, (top, left, flip), ours in zip(images, draws, found, strict=True):
        theirs = functional.crop(
            functional.pad(functional.to_pil_image(image), 4), top, left, 32, 32
        )
        theirs = functional.hflip(theirs) if flip else theirs
        assert torch.equal(ours, functional.pil_to_tensor(theirs))


def test_an_image_need_not_be_square():
    image = random_bytes(1, 2, 5, 7)
    found = crop_and_flip(image, torch.tensor([[0, 2]]), torch.tensor([True]), 1)
    expected = torch.zeros(1, 2, 5, 7, dtype=torch.uint8)
    expected[:, :, 1:, 1:] = image[:, :, :-1, 1:].flip(3)
    assert torch.equal(found, expected)


def test_without_augmentation_the_images_are_those_of_torchvision_normalised():
    data = training(padding=0, flip=False)
    standard = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    for batch in data.epoch(seed=0, epoch=1, batch_size=50):
        for image, index in zip(batch.image, batch.index.tolist(), strict=True):
            raw = data.pixels.images[index].permute(1, 2, 0).numpy()
            torch.testing.assert_close(image, standard(Image.fromarray(raw)), rtol=0, atol=1e-6)


def test_padding_is_black_before_normalisation():
    white = Pixels.of(random_bytes(9, 3, 8, 8) * 0 + 255, torch.arange(9), MEAN, STD)
    image = next(ArrayTrain(white, padding=4).epoch(0, 1, 9)).image
    black, bright = -MEAN[2] / STD[2], (1 - MEAN[2]) / STD[2]
    torch.testing.assert_close(image[:, 2].unique(), torch.tensor([black, bright]))


def test_offsets_are_uniform_over_nine_places_and_every_second_image_is_flipped():
    offsets, flips = training(90_000, size=1)._draw(seed=0, epoch=1)
    for axis in (0, 1):
        counts = torch.bincount(offsets[:, axis], minlength=9)
        assert len(counts) == 9
        assert (counts - 10_000).abs().max() < 400  # standard deviation 94
    assert abs(int(flips.sum()) - 45_000) < 600  # standard deviation 150
    joint = torch.bincount(offsets[:, 0] * 18 + offsets[:, 1] * 2 + flips, minlength=162)
    chi_square = ((joint - 90_000 / 162) ** 2 / (90_000 / 162)).sum()
    assert chi_square < 161 + 5 * (2 * 161) ** 0.5  # independent of each other


def test_the_mean_augmented_image_is_that_of_torchvision():
    image = random_bytes(1, 3, 32, 32)
    many = Pixels.of(image.expand(4000, -1, -1, -1), torch.zeros(4000).long(), (0,) * 3, (1,) * 3)
    ours = next(ArrayTrain(many, 4, True).epoch(0, 1, 4000)).image.mean(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        random = transforms.Compose(
            [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip()]
        )
        theirs = torch.stack([random(image[0]) for _ in range(4000)]).double().mean(0) / 255
    assert (ours - theirs).abs().max() < 0.04  # 4.5 standard deviations of a difference of means
    assert (ours - theirs).abs().mean() < 0.006


def test_digits_are_never_mirrored():
    _, flips = training(flip=False)._draw(0, 1)
    assert not flips.any()


def test_an_epoch_has_every_image_once_with_its_label():
    data = training()
    batches = list(data.epoch(seed=3, epoch=2, batch_size=64))
    assert [len(batch) for batch in batches] == [64, 64, 22]
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index.tolist()) == list(range(150))
    assert torch.equal(torch.cat([batch.label for batch in batches]), data.pixels.labels[index])


def test_an_epoch_is_a_function_of_seed_and_epoch():
    data = training()
    assert_same(data.epoch(0, 1, 64), data.epoch(0, 1, 64))
    first = next(data.epoch(0, 1, 64))
    for other in (next(data.epoch(0, 2, 64)), next(data.epoch(1, 1, 64))):
        assert not torch.equal(first.index, other.index)


def test_each_epoch_and_seed_augments_an_image_anew():
    offsets, flips = zip(
        *(training()._draw(*when) for when in ((0, 1), (0, 2), (1, 1))), strict=True
    )
    for one, other in itertools.combinations(range(3), 2):
        equal = (offsets[one] == offsets[other]).all(1).sum()
        assert equal < 12  # of 150 images; 1 of 81 expected
        assert 45 < (flips[one] == flips[other]).sum() < 105


def test_the_global_random_streams_neither_matter_nor_move():
    data = training()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = list(data.epoch(0, 1, 64))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_same(first, data.epoch(0, 1, 64))


@pytest.mark.parametrize("first_step", [0, 1, 2, 3])
def test_starting_in_the_middle_gives_the_rest_of_the_epoch(first_step):
    data = training()
    whole = list(data.epoch(0, 1, 64))
    assert_same(whole[first_step:], data.epoch(0, 1, 64, first_step=first_step))


def test_an_image_is_augmented_the_same_whatever_the_batch_size():
    views = []
    for batch_size in (10, 64):
        batches = list(training().epoch(0, 1, batch_size))
        index = torch.cat([batch.index for batch in batches])
        views.append(torch.cat([batch.image for batch in batches])[index.argsort()])
    assert torch.equal(*views)


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_batches_made_together_as_on_a_gpu_are_those_made_one_by_one(monkeypatch, at_once):
    data = training()
    one_by_one = list(data.epoch(0, 1, 16, first_step=1))
    monkeypatch.setattr(ArrayTrain, "_steps_at_once", lambda *_: at_once)
    assert_same(one_by_one, data.epoch(0, 1, 16, first_step=1))


def test_on_a_gpu_85_batches_of_cifar_are_made_together(monkeypatch):
    data = training(count=2)
    monkeypatch.setattr(arrays, "VALUES_AT_ONCE", 2**24)
    assert data._steps_at_once(64) == 1
    on_meta = data.to(torch.device("meta"))
    assert on_meta._steps_at_once(64) == 85
    assert on_meta._steps_at_once(2**20) == 1


def test_two_ranks_see_the_images_that_one_sees():
    data = training(count=128)
    alone = list(data.epoch(0, 1, 32))
    ranks = [data.epoch(0, 1, 32, rank=rank, world_size=2) for rank in (0, 1)]
    for whole, first, second in zip(alone, *ranks, strict=True):
        assert torch.equal(whole.image[0::2], first.image)
        assert torch.equal(whole.image[1::2], second.image)
        assert torch.equal(whole.index[1::2], second.index)


def test_plain_images_come_in_order_and_unchanged():
    data = training()
    index = torch.cat([batch.index for batch in data.plain(40)])
    images = torch.cat([batch.image for batch in data.plain(40)])
    assert torch.equal(index, torch.arange(150))
    assert torch.equal(images, data.pixels.normalise(data.pixels.images))


def test_an_evaluation_split_comes_in_order_with_its_positions():
    batches = list(pixels(90).to(CPU).batches(40))
    assert [len(batch) for batch in batches] == [40, 40, 10]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(90))
    assert batches[0].image.dtype == torch.float32
