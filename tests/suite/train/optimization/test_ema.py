"""The moving average of weights: by hand, shown in the network's place and taken back."""

import torch
from torch import nn

from suite.train.optimization.ema import Average


def constant(value):
    layer = nn.BatchNorm1d(1)
    nn.init.constant_(layer.weight, value)
    return layer


def test_two_steps_by_hand_and_the_network_gets_its_own_weights_back():
    layer = constant(0.0)
    average = Average(layer, 0.75)
    for value in (4.0, 8.0):
        nn.init.constant_(layer.weight, value)
        layer.num_batches_tracked += 1
        average.update()
    with average.shown(), average.shown():  # within itself: once
        assert layer.weight.item() == 0.25 * 8 + 0.75 * (0.25 * 4)
        assert layer.num_batches_tracked.item() == 2
    assert layer.weight.item() == 8


def test_it_goes_on_where_it_was_saved():
    layer = constant(1.0)
    average, restored = Average(layer, 0.5), Average(constant(5.0), 0.5)
    restored.load_state_dict(average.state_dict())
    assert torch.equal(restored.state_dict()["weight"], torch.ones(1))


def test_without_a_decay_there_is_none():
    average = Average(constant(1.0), None)
    average.update()
    assert average.state_dict() == {}
