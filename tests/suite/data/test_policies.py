"""Policies of timm and torchvision: every magnitude works, the same again, and wrong names."""

import random

import pytest
import torch

from suite.data.base import DataError
from suite.data.policies import Policy

MEAN = (0.5, 0.4, 0.3)
IMAGE = torch.arange(3 * 8 * 8).view(3, 8, 8).to(torch.uint8)


@pytest.mark.parametrize(
    "notation", ["trivial", "rand-m9-mstd0.5-inc1", "rand-m10-inc1", "original", "augmix-m5-w3"]
)
def test_an_image_is_changed_by_its_index_alone(notation):
    change = Policy(notation, MEAN, 8).change(0, 1)
    looks = [change(IMAGE, index) for index in range(40)]  # rand-m10 asks to keep 0 bits
    random.seed(5)
    torch.manual_seed(5)
    assert all(torch.equal(change(IMAGE, index), look) for index, look in enumerate(looks))
    assert len({tuple(look.flatten().tolist()) for look in looks}) > 5
    assert {(look.shape, look.dtype) for look in looks} == {(IMAGE.shape, torch.uint8)}


def test_what_is_no_policy_or_has_no_colours_is_refused_in_a_line():
    with pytest.raises(DataError, match="'nonsense': neither 'trivial' nor in timm's notation"):
        Policy("nonsense", MEAN, 8)
    with pytest.raises(DataError, match="images of 3 channels, and these have 1"):
        Policy("trivial", (0.5,), 8)
