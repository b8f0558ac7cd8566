"""Random streams: named, independent, and the same for any number of ranks."""

import pytest
import torch

from suite.interface.rng import Draws, derive_seed, generator, seeded_globals


def test_seeds_are_stable_over_versions():
    """Fixed once and for all: a changed value would change every result."""
    assert derive_seed(0, "init") == 3330654677893223573
    assert derive_seed(3, "augment", 17) == 2577838934802576335


def test_every_part_of_a_name_counts_and_streams_do_not_overlap():
    names = [(0, "order", 1), (0, "order", 2), (1, "order", 1), (0, "augment", 1), (0, "order1")]
    assert len({derive_seed(*name) for name in names}) == len(names)
    drawn = torch.stack([torch.randn(1000, generator=generator(*name)) for name in names])
    correlation = torch.corrcoef(drawn) - torch.eye(len(names))
    assert correlation.abs().max() < 0.12


def test_global_seeding_is_repeatable_and_leaves_no_trace():
    before = torch.get_rng_state()
    with seeded_globals(0, "init"):
        first = torch.nn.Linear(3, 3).weight.clone()
    assert torch.equal(before, torch.get_rng_state())
    with seeded_globals(0, "init"):
        assert torch.equal(first, torch.nn.Linear(3, 3).weight)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_out_the_draws_of_one_global_batch(ranks):
    alone = Draws(generator(0, "method"))
    shares = [Draws(generator(0, "method"), rank, ranks) for rank in range(ranks)]
    for draw in (
        lambda it, rows: it.normal(rows, 2, 3),
        lambda it, rows: it.integers(rows, 4, low=2, high=9),
    ):
        whole = draw(alone, 4 * ranks)
        parts = [draw(share, 4) for share in shares]
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)


def test_integers_cover_their_range_and_no_more():
    drawn = Draws(generator(0, "method")).integers(1000, low=2, high=5)
    assert drawn.unique().tolist() == [2, 3, 4]
    assert drawn.dtype == torch.int64
