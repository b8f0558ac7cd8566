"""Which images train and which validate: fixed, stratified, nested."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.config import DataConfig
from suite.data.base import DataError
from suite.data.split import hold_out, limit, stratified_order, training_and_validation

CIFAR_LIKE = np.arange(50_000) * 7 % 100  # 500 images of each of 100 classes


def test_the_validation_images_are_these_for_ever():
    _, held_out = hold_out(CIFAR_LIKE, 5000)
    assert held_out[:5].tolist() == [1, 6, 29, 47, 53]
    pinned = "32c2b89d00cc6a199deda8105924a37098e594ae8889cdd070bb739e2f4bf732"
    assert hashlib.sha256(held_out.astype("<i8").tobytes()).hexdigest() == pinned


def test_held_out_and_kept_images_are_all_images_once():
    kept, held_out = hold_out(CIFAR_LIKE, 5000)
    assert len(held_out) == 5000
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(50_000))


def test_every_class_gives_its_tenth():
    kept, held_out = hold_out(CIFAR_LIKE, 5000)
    assert set(np.bincount(CIFAR_LIKE[held_out])) == {50}
    assert set(np.bincount(CIFAR_LIKE[kept])) == {450}


def test_the_held_out_images_are_spread_over_the_file():
    _, held_out = hold_out(CIFAR_LIKE, 5000)
    by_tenth = np.bincount(held_out // 5000)
    assert by_tenth.min() > 440  # 500 expected, standard deviation 20
    assert by_tenth.max() < 560


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    share=st.floats(0, 1),
    data=st.data(),
)
def test_every_prefix_has_the_classes_in_proportion(sizes, share, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = labels[data.draw(st.permutations(range(len(labels))))]
    order = stratified_order(labels)
    assert sorted(order) == list(range(len(labels)))
    count = round(share * len(labels))
    found = np.bincount(labels[order[:count]], minlength=len(sizes))
    wanted = count * np.array(sizes) / len(labels)
    slack = 1.5 + 0.5 * len(sizes) * np.array(sizes) / len(labels)  # half an image a class, ties
    assert (np.abs(found - wanted) <= slack).all()


def test_a_smaller_limit_is_part_of_a_larger():
    small, large = limit(CIFAR_LIKE, 200), limit(CIFAR_LIKE, 400)
    assert set(small) < set(large)
    assert set(np.bincount(CIFAR_LIKE[small])) == {2}
    assert set(np.bincount(CIFAR_LIKE[large])) == {4}


def test_a_limit_takes_no_validation_image():
    config = DataConfig(name="cifar100", train_limit=45_000)
    rows, validation = training_and_validation(config, CIFAR_LIKE, 5000)
    assert not set(rows) & set(validation)
    assert len(rows) == 45_000


def test_trainval_trains_on_all_images_and_validates_on_none():
    config = DataConfig(name="cifar100", train_split="trainval")
    rows, validation = training_and_validation(config, CIFAR_LIKE, 5000)
    assert np.array_equal(rows, np.arange(50_000))
    assert len(validation) == 0


def test_a_limit_above_the_number_of_images_names_that_number():
    config = DataConfig(name="cifar100", train_limit=45_001)
    with pytest.raises(DataError, match=r"data\.train_limit 45001: cifar100 has 45000 images"):
        training_and_validation(config, CIFAR_LIKE, 5000)
