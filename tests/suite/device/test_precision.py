"""Loss scale, clipping and skipped steps, on a CPU's float16."""

import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from suite.device.precision import COLLAPSED, Autocast, LossScaler
from suite.train.meter import Meter, figures_of

FUSED = [True, False]


def scaler_of(fused, name="16-mixed"):
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, momentum=0.9, fused=fused)
    return layer, LossScaler(name, "cpu", optimizer)


def step(layer, scaler, factor, max_norm=None):
    """One step on the loss factor * (w1 + w2), whose gradient is (factor, factor)."""
    layer.zero_grad()
    scaler.scale(factor * layer.weight.sum()).backward()
    scaler.step(max_norm)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_gradients_are_clipped_after_they_are_unscaled(precision, fused):
    layer, scaler = scaler_of(fused, precision)
    step(layer, scaler, 3.0, max_norm=math.sqrt(2))  # (3, 3) becomes (1, 1), but for eps 1e-6
    assert torch.allclose(layer.weight, torch.full((1, 2), 0.5), atol=1e-6)


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("max_norm", [None, 10.0])
def test_a_step_that_overflows_changes_nothing_but_the_scale(fused, max_norm):
    layer, scaler = scaler_of(fused)
    step(layer, scaler, math.inf, max_norm)
    assert torch.equal(layer.weight, torch.ones(1, 2))
    assert scaler.state_dict()["scale"] == 2.0**15
    step(
        layer, scaler, 1.0, max_norm
    )  # the first step that counts: momentum starts at its gradient
    assert torch.equal(layer.weight, torch.full((1, 2), 0.5))


def test_no_step_of_a_fused_optimizer_reads_a_value_back(monkeypatch):
    layer, scaler = scaler_of(fused=True)
    monkeypatch.setattr(torch.Tensor, "item", lambda _: pytest.fail("waits for the device"))
    step(layer, scaler, math.inf, max_norm=1.0)
    step(layer, scaler, 1.0, max_norm=1.0)


def test_the_scale_collapses_after_31_overflows_in_a_row_and_is_saved():
    layer, scaler = scaler_of(fused=True)
    for _ in range(30):
        step(layer, scaler, math.inf)
    assert scaler.state_dict()["scale"] == COLLAPSED == 2.0**-14
    assert not scaler.collapsed
    step(layer, scaler, math.nan)
    assert scaler.collapsed
    other = scaler_of(fused=True)[1]
    other.load_state_dict(scaler.state_dict())
    assert other.collapsed


def test_two_scalers_know_nothing_of_each_other():
    (layer, scaler), (_, other) = scaler_of(fused=True), scaler_of(fused=True)
    step(layer, scaler, math.inf)
    assert (scaler.state_dict()["scale"], other.state_dict()["scale"]) == (2.0**15, 2.0**16)


@pytest.mark.parametrize(
    ("precision", "half"), [("bf16-mixed", "bfloat16"), ("16-mixed", "float16")]
)
def test_autocast_leaves_arguments_and_results_alone(precision, half):
    plugin = Autocast(precision, "cpu")
    image = torch.ones(1, 2)
    assert plugin.convert_input({"image": image})["image"] is image
    with plugin.forward_context():
        assert nn.Linear(2, 2)(image).dtype == getattr(torch, half)
    with Autocast("32-true", "cpu").forward_context():
        assert nn.Linear(2, 2)(image).dtype == torch.float32


@pytest.mark.parametrize("skips", [True, False])
def test_a_step_left_out_counts_in_no_mean(skips):
    meter = Meter(Fabric(accelerator="cpu", devices=1), {})
    for loss in (torch.tensor(2.0), torch.tensor(math.nan)):
        terms, diagnostics = {"ce": loss}, {"share": loss}
        meter.add(figures_of(4, loss, terms, torch.tensor(3), diagnostics, skips=skips))
    sums = meter.read()
    assert (sums["images"], sums["hits"]) == (8.0, 6.0)
    if skips:
        assert (sums["steps"], sums["train/loss"], sums["train/ce"]) == (1.0, 2.0, 2.0)
    else:
        assert sums["steps"] == 2.0
        assert math.isnan(sums["train/loss"])
