"""Hash values, codes and their loss: invariances, balance, and the bias in chunks."""

import math

import pytest
import torch

from baselines import _hashing
from baselines._hashing import (
    HashLayer,
    code_health,
    code_loss_per_row,
    codes,
    differing_loss_per_row,
    mean_over,
)
from suite.interface.rng import Draws, generator


def make_layer(width=12, bits=64, std=1.0, seed=0):
    return HashLayer(width, bits, std, Draws(generator(seed, "hash")))


def features(rows, width=12, seed=1):
    return torch.randn(rows, width, generator=generator(seed, "features"))


def test_hyperplanes_have_the_scale_asked_for_and_are_not_trained():
    layer = make_layer(width=64, bits=4096, std=0.06)
    assert layer.weight.std().item() == pytest.approx(0.06, rel=0.01)
    assert list(layer.parameters()) == []
    assert set(layer.state_dict()) == {"weight", "bias"}


def test_all_ranks_draw_the_same_hyperplanes():
    weights = [HashLayer(4, 8, 1.0, Draws(generator(0, "hash"), rank, 2)).weight for rank in (0, 1)]
    assert torch.equal(*weights)


def test_codes_ignore_positive_scale_when_the_bias_is_zero():
    layer, rows = make_layer(), features(20)
    for scale in (1e-3, 7.0, 1e4):
        assert torch.equal(codes(layer(rows)), codes(layer(scale * rows)))
    assert torch.equal(codes(layer(-rows)), 1 - codes(layer(rows)))


def test_code_agreement_is_one_minus_the_angle_over_pi():
    # Charikar 2002: two vectors at angle a fall on the same side with probability 1 - a / pi.
    layer = make_layer(width=2, bits=20_000)
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    found = code_health(layer(first), layer(second))["hash_agreement"].item()
    assert found == pytest.approx(1 - (math.pi / 4) / math.pi, abs=0.01)


def test_loss_of_one_bit_is_the_softplus_of_the_margin():
    hashes, target = torch.tensor([[2.0], [2.0]]), torch.tensor([[0.3], [-0.3]])
    want = torch.tensor([math.log1p(math.exp(-2)), math.log1p(math.exp(2))])
    assert torch.allclose(code_loss_per_row(hashes, target), want)


def test_differing_loss_is_the_excess_over_the_features_own_codes():
    layer = make_layer()
    hashes, target = layer(features(6)).requires_grad_(), layer(features(6, seed=2))
    excess = code_loss_per_row(hashes, target) - code_loss_per_row(hashes, hashes)
    found = differing_loss_per_row(hashes, target)
    assert torch.allclose(found, excess, atol=1e-5)
    first, second = (
        torch.autograd.grad(it.sum(), hashes, retain_graph=True)[0] for it in (found, excess)
    )
    assert torch.allclose(first, second, atol=1e-6)
    assert differing_loss_per_row(hashes, hashes).abs().max() == 0


def test_loss_gives_the_target_no_gradient():
    layer = make_layer()
    student, teacher = features(4).requires_grad_(), features(4, seed=2).requires_grad_()
    code_loss_per_row(layer(student), layer(teacher)).mean().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_loss_falls_as_the_direction_approaches():
    layer, target = make_layer(bits=512), features(8)
    away = features(8, seed=2)
    losses = [
        code_loss_per_row(layer(target * share + away * (1 - share)), layer(target)).mean().item()
        for share in (0.0, 0.5, 1.0)
    ]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("centre", ["mean", "median"])
def test_bias_is_the_same_in_chunks_as_in_one_piece(centre, monkeypatch):
    layer, bank = make_layer(), features(21) + 1.0
    hashes = bank @ layer.weight.T
    whole = hashes.mean(0) if centre == "mean" else hashes.median(0).values
    monkeypatch.setattr(_hashing, "CHUNK_VALUES", 21 * 5)  # five bits at a time
    layer.centre_on(bank, centre)
    assert torch.allclose(layer.bias, -whole, atol=1e-6)


def test_median_of_an_even_number_is_the_lower_middle():
    layer = make_layer(width=1, bits=1)
    layer.weight.fill_(1.0)
    layer.centre_on(torch.tensor([[1.0], [2.0], [3.0], [10.0]]), "median")
    assert layer.bias.item() == -2.0


def test_median_bias_splits_every_bit_in_half():
    layer, bank = make_layer(), features(101) + 5.0
    assert code_health(layer(bank), layer(bank))["code_balance"] < 0.6
    layer.centre_on(bank, "median")
    ones = codes(layer(bank)).sum(0)
    assert torch.all((ones - 50).abs() <= 1)  # the median itself is on neither side
    assert code_health(layer(bank), layer(bank))["code_balance"] > 0.999


def test_centring_twice_changes_nothing():
    # The reference measures with the bias it has, so a second call sets it to zero.
    layer, bank = make_layer(), features(10) + 2.0
    layer.centre_on(bank, "mean")
    once = layer.bias.clone()
    layer.centre_on(bank, "mean")
    assert torch.equal(layer.bias, once)
    assert once.abs().max() > 1


def test_following_bias_approaches_the_centre():
    layer, bank = make_layer(), features(50) + 2.0
    layer.follow(bank, "zero", 0.5)
    assert layer.bias.abs().max() == 0
    layer.follow(bank, "mean", 0.5)
    first = layer.bias.clone()
    for _ in range(20):
        layer.follow(bank, "mean", 0.5)
    centre = -(bank @ layer.weight.T).mean(0)
    assert torch.allclose(first, centre / 2, atol=1e-5)
    assert torch.allclose(layer.bias, centre, atol=1e-4)


def test_mean_over_chosen_rows_and_over_none():
    rows = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    assert mean_over(torch.tensor([True, False, True]), rows).item() == 2.5
    nothing = mean_over(torch.tensor([False, False, False]), rows)
    nothing.backward()
    assert nothing.item() == 0.0
    assert torch.equal(rows.grad, torch.zeros(3))


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_loss_of_half_precision_is_computed_in_float32(half):
    hashes = (100 * features(4, 64)).to(half)
    loss = code_loss_per_row(hashes, -hashes)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()


def test_huge_hash_values_keep_loss_and_gradient_finite():
    hashes = torch.full((2, 8), 1e6, requires_grad=True)
    loss = code_loss_per_row(hashes, -torch.ones(2, 8)).mean()
    loss.backward()
    assert loss.item() == pytest.approx(1e6)
    assert hashes.grad.isfinite().all()
