"""DOT: the reference's steps, SGD where there is nothing to tell apart, and refusals."""

import pytest
import torch
from torch import nn

from suite.config import ConfigError, OptimizerConfig, RunConfig, parse
from suite.train.optimization.dot import DOT
from suite.train.optimization.optimizer import describe_groups, make_optimizer


@pytest.mark.parametrize("name", ["dot_quadratic_d0075", "dot_quadratic_d009"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_its_steps_are_those_of_the_reference(golden, name, dtype):
    case = golden(name, dtype)
    weights = {it: nn.Parameter(case.inputs[f"p0_{it}"].clone()) for it in "pq"}
    optimizer = DOT(
        [{"params": [*weights.values()], "weight_decay": case.hyper["weight_decay"]}],
        lr=case.hyper["lr"],
        momentum=case.hyper["momentum"],
        delta=case.hyper["delta"],
    )
    receivers = {"task": weights.values(), "kd": optimizer.receivers([*weights.values()])}
    path = {it: [weights[it].detach().clone()] for it in "pq"}
    for step in range(case.hyper["steps"]):
        for part, tensors in receivers.items():
            residual = sum(case.inputs[f"A_{part}_{it}"] @ weights[it] for it in "pq")
            loss = (residual - case.inputs[f"c_{part}"]).square().sum() / 2
            assert float(loss.detach()) == pytest.approx(
                float(case.want(f"out_loss_{part}")[step]), rel=1e-5
            )
            for tensor, gradient in zip(
                tensors, torch.autograd.grad(loss, [*weights.values()]), strict=True
            ):
                tensor.grad = gradient
        optimizer.step()
        for it in "pq":
            path[it].append(weights[it].detach().clone())
    for it in "pq":
        case.check_output(torch.stack(path[it]), f"traj_{it}")
    for part, tensors in receivers.items():
        for it, tensor in zip("pq", tensors, strict=True):
            case.check_output(optimizer.state[tensor]["momentum_buffer"], f"{part}_buffer_{it}")


def after_steps(optimizer, layer, parts, steps=4):
    """The weights after steps with a fixed gradient in each of ``parts`` of the optimizer."""
    receivers = {
        "task": [*layer.parameters()],
        "distillation": optimizer.receivers([*layer.parameters()])
        if isinstance(optimizer, DOT)
        else [],
    }
    for _ in range(steps):
        for part, size in parts.items():
            for tensor in receivers[part]:
                tensor.grad = torch.full_like(tensor, size)
        optimizer.step()
    return [it.detach().clone() for it in layer.parameters()]


@pytest.mark.parametrize(
    ("delta", "parts"),
    [
        (0.0, {"task": 1.0, "distillation": 2.0}),
        (0.05, {"task": 3.0}),
        (0.05, {"distillation": 3.0}),
    ],
    ids=["no delta", "labels alone", "distillation alone"],
)
def test_it_is_sgd_without_delta_and_for_what_one_part_reaches(delta, parts):
    found = []
    for options, given in (
        ({"name": "dot", "delta": delta}, parts),
        ({"name": "momentum"}, {"task": 3.0}),
    ):
        layer = nn.Linear(2, 2)
        nn.init.constant_(layer.weight, 1.0)
        nn.init.constant_(layer.bias, -1.0)
        config = OptimizerConfig(lr=0.1, weight_decay=0.01, decay_norm_and_bias=False, **options)
        found.append(after_steps(make_optimizer(config, layer), layer, given))
    for dot, sgd in zip(*found, strict=True):
        torch.testing.assert_close(dot, sgd, rtol=1e-6, atol=0)


def test_the_twins_are_no_parameters_of_the_network():
    layer = nn.Linear(2, 2)
    settings = {"weight_decay": 0.1, "decay_norm_and_bias": False}
    config = OptimizerConfig(lr=0.1, name="dot", delta=0.075, **settings)
    groups = describe_groups(make_optimizer(config, layer), nn.ModuleDict({"layer": layer}))
    assert [group["parameters"] for group in groups] == [{"layer.bias": 2}, {"layer.weight": 4}]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"optimizer": {"name": "dot"}}, "delta None: a number goes with name 'dot'"),
        ({"optimizer": {"delta": 0.1}}, "delta 0.1: a number goes with name 'dot'"),
        ({"optimizer": {"name": "dot", "delta": 0.1}}, "their sum must be below 1"),
        ({"method": "simkd"}, "method 'simkd' has no loss of the labels"),
        ({"method": "scratch", "teacher": None}, "method 'scratch' has no distillation"),
    ],
)
def test_what_it_cannot_do_is_refused_in_a_line(changes, line):
    values = {
        "data": {"name": "digits"},
        "student": {"name": "cifar_resnet8"},
        "teacher": {"name": "cifar_resnet20", "run_id": "0"},
        "method": "kd",
        "train": {"epochs": 1},
        **changes,
    }
    values["optimizer"] = {"lr": 0.1, **changes.get("optimizer", {"name": "dot", "delta": 0.075})}
    with pytest.raises(ConfigError, match=line):
        parse(RunConfig, values, "run")
