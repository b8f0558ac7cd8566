"""Mixed images and soft labels: whose image, whose label, the same again and on two ranks."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from suite.config import DataConfig
from suite.interface.distiller import Batch
from suite.train.mixing import Mixing

CLASSES = 10


def batch(images=6):
    """Image i is full of the number i, its class is i, its index 100 + i."""
    rows = torch.arange(images)
    image = rows.float().view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()
    return Batch(image, rows, 100 + rows, {"strong": image.clone()})


def mixed(step=0, images=6, **settings):
    fabric = SimpleNamespace(global_rank=0, world_size=1)
    mixing = Mixing(DataConfig(name="fake", **settings), CLASSES, 0, fabric)
    return mixing(batch(images), 1, step)


def test_without_a_recipe_a_batch_is_what_it_was():
    assert mixed().target is None
    assert mixed().truth is mixed().label or torch.equal(mixed().truth, torch.arange(6))


def test_smoothed_labels_by_hand():
    row = mixed(label_smoothing=0.1).target[3]
    assert row.tolist() == pytest.approx([0.01] * 3 + [0.91] + [0.01] * 6)


@pytest.mark.parametrize("recipe", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_a_mixed_image_has_the_shares_that_its_target_says(recipe):
    for step in range(4):
        got = mixed(step, **recipe)
        share = got.target @ torch.arange(CLASSES).float()  # mean of the numbers that are mixed
        torch.testing.assert_close(got.image.mean((1, 2, 3)), share)
        assert torch.equal(got.label, got.target.argmax(1))
        assert torch.equal(got.index, 100 + got.label)  # of the same image as the label
        assert torch.equal(got.views["strong"], got.image)  # views are mixed alike
        torch.testing.assert_close(got.target.sum(1), torch.ones(6))


def test_steps_differ_and_each_is_the_same_again_whatever_was_drawn_before():
    first, second = (mixed(step, mixup=1.0).target for step in (0, 1))
    torch.rand(3)
    assert torch.equal(mixed(0, mixup=1.0).target, first)
    assert not torch.equal(first, second)


def test_the_last_of_an_odd_number_of_images_stays_as_it_is():
    got = mixed(images=5, mixup=1.0)
    assert got.target[4].tolist() == [0.0] * 4 + [1.0] + [0.0] * 5
    assert float(got.image[4].mean()) == 4


def test_erased_patches_depend_on_the_image_and_leave_the_global_streams_alone():
    state = torch.get_rng_state()
    whole = mixed(random_erasing=1.0, random_erasing_mode="pixel")
    assert torch.equal(torch.get_rng_state(), state)
    assert all((whole.image[i] != i).any() for i in range(6))
    fabric = SimpleNamespace(global_rank=0, world_size=1)
    mixing = Mixing(DataConfig(name="fake", random_erasing=1.0), CLASSES, 0, fabric)
    some = batch()
    half = Batch(some.image[::2], some.label[::2], some.index[::2])  # what one of two ranks has
    assert torch.equal(mixing(replace(half), 1, 0).image, whole.image[::2])
