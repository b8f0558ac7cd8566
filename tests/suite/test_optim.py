"""The recipes' optimizers and learning-rate schedules, epoch by epoch."""

import pytest
from torch import nn

from suite.config import OptimizerConfig, ScheduleConfig
from suite.errors import UserError
from suite.optim import learning_rate, make_optimizer, make_schedule


def rates(schedule_config, epochs, lr=0.05):
    optimizer = make_optimizer(OptimizerConfig(lr=lr), nn.Linear(2, 2), 64)
    schedule = make_schedule(schedule_config, optimizer, epochs)
    found = []
    for epoch in range(1, epochs + 1):
        schedule.step(epoch - 1)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_the_cifar_recipe_drops_from_epochs_151_181_and_211_on():
    config = ScheduleConfig(name="multistep", milestones=(150, 180, 210), decay_rate=0.1)
    lr = rates(config, 240)
    at = {epoch: lr[epoch - 1] for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    assert at == pytest.approx(
        {
            1: 0.05,
            150: 0.05,
            151: 0.005,
            180: 0.005,
            181: 5e-4,
            210: 5e-4,
            211: 5e-5,
            240: 5e-5,
        }
    )


def test_a_constant_schedule_is_constant():
    assert set(rates(ScheduleConfig(name="constant"), 12)) == {0.05}


def test_cosine_starts_at_the_base_rate_and_halves_in_the_middle():
    lr = rates(ScheduleConfig(name="cosine"), 10)
    assert lr[0] == pytest.approx(0.05)
    assert lr[5] == pytest.approx(0.025)
    assert lr[9] == pytest.approx(0.05 * 0.024472, rel=1e-3)


def test_warmup_climbs_linearly_from_its_first_rate():
    lr = rates(ScheduleConfig(name="constant", warmup_epochs=4, warmup_lr=0.01), 6)
    assert lr == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.05])


def test_momentum_is_plain_sgd_and_decays_every_parameter():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(OptimizerConfig(lr=0.1, weight_decay=5e-4), network, 64)
    (group,) = optimizer.param_groups
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (False, 0.9, 5e-4)
    assert len(group["params"]) == 4


def test_decay_of_norm_and_bias_can_be_switched_off():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    config = OptimizerConfig(lr=0.1, weight_decay=5e-4, decay_norm_and_bias=False)
    decays = {
        group["weight_decay"]: len(group["params"])
        for group in make_optimizer(config, network, 64).param_groups
    }
    assert decays == {0.0: 3, 5e-4: 1}


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"optimizer\.name 'sgdd'.*momentum"):
        make_optimizer(OptimizerConfig(name="sgdd", lr=0.1), nn.Linear(2, 2), 64)


def test_the_rate_is_scaled_with_the_global_batch_only_where_its_own_batch_is_named():
    assert learning_rate(OptimizerConfig(lr=0.1, lr_batch_size=256), 1024) == 0.4
    assert learning_rate(OptimizerConfig(lr=0.1, lr_batch_size=256), 64) == 0.025
    assert learning_rate(OptimizerConfig(lr=0.1), 1024) == 0.1
