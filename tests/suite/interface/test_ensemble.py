"""An ensemble says the mean of what its members say, fast or not, and gives nothing else."""

import pytest
import torch
from lightning_fabric import Fabric
from method_setup import make_model

from suite.config import TrainConfig
from suite.interface.ensemble import Ensemble
from suite.interface.rng import generator
from suite.interface.taps import UnsupportedModel
from suite.train.teacher import Teacher

IMAGE = torch.randn(64, 3, 32, 32, generator=generator(0, "ensemble"))


@pytest.fixture
def members():
    names = ("cifar_resnet8", "cifar_vgg8", "test_resnet")
    return [make_model(name, seed=seed).eval() for seed, name in enumerate(names)]


def mean_of(members):
    """By hand, in float64."""
    with torch.no_grad():
        return sum(member.model(IMAGE).double() for member in members) / len(members)


def test_its_logits_are_the_mean_and_its_probabilities_the_geometric_mean(members):
    with torch.no_grad():
        logits = Ensemble(members).eval()(IMAGE).logits
    torch.testing.assert_close(logits.double(), mean_of(members), rtol=1e-5, atol=1e-5)
    temperature = 4.0
    shares = [(member(IMAGE).logits / temperature).softmax(1) for member in members]
    geometric = torch.stack(shares).log().mean(0).exp()
    torch.testing.assert_close(
        (logits / temperature).softmax(1), geometric / geometric.sum(1, keepdim=True)
    )


def test_folded_and_a_few_images_at_a_time_it_says_the_same(members):
    train = TrainConfig(epochs=1)
    teacher = Teacher(
        Ensemble(members).eval(),
        Fabric(accelerator="cpu", devices=1),
        train,
        torch.channels_last,
        fast=True,
    )
    assert any(isinstance(it, torch.nn.Identity) for it in teacher._quick.modules())
    found = teacher(IMAGE, ()).logits
    torch.testing.assert_close(found.double(), mean_of(members), rtol=1e-4, atol=1e-4)


def test_it_has_no_features(members):
    ensemble = Ensemble(members)
    assert ensemble.shapes == {"logits": (5,)}
    assert ensemble.stages == ()
    with pytest.raises(UnsupportedModel, match="has no tap 'pooled', only logits"):
        ensemble(IMAGE, ("pooled",))
