"""How an epoch is cut into batches and shared out among ranks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.data.base import DataError, rank_rows, steps_per_epoch


def test_a_smaller_last_batch_is_kept_but_not_one_of_a_single_image():
    assert steps_per_epoch(45_000, 64) == 704  # the last has 8 images
    assert steps_per_epoch(128, 64) == 2
    assert steps_per_epoch(129, 64) == 2
    assert steps_per_epoch(130, 64) == 3


def test_a_last_batch_with_one_image_a_rank_is_left_out():
    assert steps_per_epoch(64 + 8, 64, world_size=4) == 2
    assert steps_per_epoch(64 + 8, 64, world_size=8) == 1


def test_two_ranks_take_every_second_image_of_each_global_batch():
    order = torch.tensor([5, 3, 0, 9, 1, 7, 2, 8, 6, 4])
    first, second = (rank_rows(order, 4, rank=rank, world_size=2) for rank in (0, 1))
    assert [part.tolist() for part in first] == [[5, 0], [1, 2]]
    assert [part.tolist() for part in second] == [[3, 9], [7, 8]]  # 6, 4: one image a rank


@given(
    images=st.integers(2, 300),
    per_rank=st.integers(2, 20),
    world_size=st.integers(1, 5),
    first_step=st.integers(0, 5),
)
def test_ranks_together_train_on_the_order_without_gap_or_repeat(
    images, per_rank, world_size, first_step
):
    order, batch_size = torch.randperm(images), per_rank * world_size
    if steps_per_epoch(images, batch_size, world_size) == 0:
        return
    shares = [rank_rows(order, batch_size, first_step, r, world_size) for r in range(world_size)]
    sizes = [{len(part) for part in parts} for parts in zip(*shares, strict=True)]
    assert all(len(size) == 1 and min(size) >= 2 for size in sizes)  # equal on all ranks
    seen = [torch.stack(parts, 1).flatten() for parts in zip(*shares, strict=True)]
    whole = torch.cat([torch.empty(0, dtype=torch.int64), *seen])
    start = min(first_step * batch_size, images)
    assert torch.equal(whole, order[start : start + len(whole)])
    left_out = images - start - len(whole)
    assert left_out < 2 * world_size


@pytest.mark.parametrize(("batch_size", "world_size"), [(64, 3), (4, 4)])
def test_a_batch_that_cannot_be_shared_out_is_refused(batch_size, world_size):
    with pytest.raises(DataError, match=rf"train\.batch_size {batch_size}: with {world_size} dev"):
        rank_rows(torch.arange(100), batch_size, world_size=world_size)


def test_too_few_images_for_one_step_are_refused():
    with pytest.raises(DataError, match="3 training images on 2 devices make no step"):
        rank_rows(torch.arange(3), 64, world_size=2)
