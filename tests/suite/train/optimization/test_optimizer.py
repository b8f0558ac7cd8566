"""The recipes' optimizers and learning-rate schedules, epoch by epoch."""

import copy

import pytest
import torch
from torch import nn

from suite.config import OptimizerConfig, ScheduleConfig
from suite.interface.errors import UserError
from suite.train.optimization.optimizer import (
    describe_groups,
    make_optimizer,
    make_schedule,
    match_layouts,
)


def rates(schedule_config, epochs, lr=0.05):
    optimizer = make_optimizer(OptimizerConfig(lr=lr), nn.Linear(2, 2))
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


def test_a_step_schedule_drops_after_so_many_epochs_from_the_end_of_warmup():
    settings = {"name": "step", "decay_epochs": 2.4, "decay_rate": 0.5}
    lr = rates(ScheduleConfig(**settings, warmup_epochs=1, warmup_lr=0.01), 9, lr=0.08)
    drops = [0, 0, 0, 1, 1, 2, 2, 2]  # of 0, 1, 2 ... 7 epochs over 2.4
    assert lr == pytest.approx([0.01, *(0.08 * 0.5**drop for drop in drops)])


@pytest.mark.parametrize("settings", [{"name": "step"}, {"name": "cosine", "decay_epochs": 2.0}])
def test_the_length_of_steps_goes_with_step_alone(settings):
    with pytest.raises(ValueError, match=r"decay_epochs .*: a number goes with name 'step'"):
        ScheduleConfig(**settings)


def test_eps_reaches_adaptive_optimizers_and_is_refused_by_others_in_a_line():
    layer = nn.Linear(2, 2)
    config = OptimizerConfig(name="rmsproptf", lr=0.1, eps=1e-3)
    assert {group["eps"] for group in make_optimizer(config, layer).param_groups} == {1e-3}
    with pytest.raises(UserError, match=r"optimizer\.eps 0\.001: 'momentum' takes none"):
        make_optimizer(OptimizerConfig(lr=0.1, eps=1e-3), layer)


def test_momentum_is_plain_sgd_and_decays_every_parameter():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(OptimizerConfig(lr=0.1, weight_decay=5e-4), network)
    (group,) = optimizer.param_groups
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (False, 0.9, 5e-4)
    assert len(group["params"]) == 4


def test_decay_of_norm_and_bias_can_be_switched_off():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    config = OptimizerConfig(lr=0.1, weight_decay=5e-4, decay_norm_and_bias=False)
    decays = {
        group["weight_decay"]: len(group["params"])
        for group in make_optimizer(config, network).param_groups
    }
    assert decays == {0.0: 3, 5e-4: 1}


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"optimizer\.name 'sgdd'.*momentum"):
        make_optimizer(OptimizerConfig(name="sgdd", lr=0.1), nn.Linear(2, 2))


def step_of(optimizer, layer, layout):
    image = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    layer(image.contiguous(memory_format=layout)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("name", ["momentum", "adamw", "lamb"])
def test_state_saved_with_one_memory_format_goes_on_with_another(name):
    config = OptimizerConfig(name=name, lr=0.1)
    plain = nn.Conv2d(3, 4, 3)
    optimizer = make_optimizer(config, plain, fused=True)
    step_of(optimizer, plain, torch.contiguous_format)
    other = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    resumed = make_optimizer(config, other, fused=True)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    match_layouts(resumed)
    step_of(optimizer, plain, torch.contiguous_format)
    step_of(resumed, other, torch.channels_last)
    torch.testing.assert_close(other.weight, plain.weight)


@pytest.mark.parametrize("name", ["momentum", "sgd", "adamw", "lamb"])
def test_the_fused_optimizer_makes_the_same_step(name):
    config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.01)
    plain = nn.Conv2d(3, 4, 3)
    quick = copy.deepcopy(plain)
    for layer, fused in ((plain, False), (quick, True)):
        optimizer = make_optimizer(config, layer, fused=fused)
        for _ in range(3):
            step_of(optimizer, layer, torch.contiguous_format)
    torch.testing.assert_close(quick.weight, plain.weight)


def test_the_rate_is_scaled_with_the_global_batch_only_where_its_own_batch_is_named():
    assert OptimizerConfig(lr=0.1, lr_batch_size=256).at(1024).lr == 0.4
    assert OptimizerConfig(lr=0.1, lr_batch_size=256).at(64).lr == 0.025
    assert OptimizerConfig(lr=0.1).at(1024).lr == 0.1


def test_groups_say_what_is_trained_and_what_decays():
    """A 3x2 weight decays and its bias of 3 does not; batch normalisation has 3 + 3; one frozen."""
    step = nn.ModuleDict(
        {
            "student": nn.ModuleDict({"model": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))}),
            "distiller": nn.ModuleDict({"embed": nn.Linear(2, 3), "fixed": nn.Linear(5, 5)}),
        }
    )
    step["distiller"]["fixed"].requires_grad_(False)
    config = OptimizerConfig(lr=0.1, weight_decay=5e-4, decay_norm_and_bias=False)
    groups = describe_groups(make_optimizer(config, step), step)
    assert sorted(groups, key=lambda group: group["weight_decay"]) == [
        {"weight_decay": 0.0, "parameters": {"student.model": 9, "distiller.embed": 3}},
        {"weight_decay": 5e-4, "parameters": {"student.model": 6, "distiller.embed": 6}},
    ]
