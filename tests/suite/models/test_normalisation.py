"""A network sees pixels as its own normalisation wants them, whatever the data set's is."""

import copy

import pytest
import timm
import torch

from suite.config import Normalisation
from suite.interface.taps import TappedModel
from suite.models import normalisation
from suite.models.folding import folded

HALF = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
NETWORKS = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 4},
    "swin_tiny_patch4_window7_224": {"img_size": 32, "window_size": 4, "embed_dim": 24},
    "cifar_resnet8": {},
}


def normalised(pixels, wanted):
    mean, std = (torch.tensor(it).view(3, 1, 1) for it in (wanted.mean, wanted.std))
    return (pixels - mean) / std


@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_is_that_of_the_network_alone_on_pixels_of_its_own_normalisation(name):
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=7, **NETWORKS[name]).eval()
    side = NETWORKS[name].get("img_size", 32)
    pixels = torch.rand(3, 3, side, side)
    own = copy.deepcopy(plain)
    normalisation.apply(own, HALF, IMAGENET)
    assert own.state_dict().keys() == plain.state_dict().keys()
    given, wanted = normalised(pixels, IMAGENET), normalised(pixels, HALF)
    shape = (3, side, side)
    one, other = TappedModel(own, shape).eval(), TappedModel(plain, shape).eval()
    taps = [tap for tap in one.shapes if tap != "logits"]
    with torch.no_grad():
        torch.testing.assert_close(own(given), plain(wanted), rtol=1e-4, atol=1e-4)
        for network in (one, folded(one)):
            said, expected = network(given, taps), other(wanted, taps)
            torch.testing.assert_close(said.logits, expected.logits, rtol=1e-4, atol=1e-4)
            for tap in taps:
                torch.testing.assert_close(said[tap], expected[tap], rtol=1e-3, atol=1e-3)
        unlike = other(given, ["pooled"])["pooled"]
        assert not torch.allclose(one(given, ["pooled"])["pooled"], unlike, atol=1e-3)


def test_a_pixel_by_hand():
    network = timm.create_model("resnet18", num_classes=2)
    seen = []
    network.conv1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    normalisation.apply(network, HALF, Normalisation(mean=(0.0, 0.2, 0.4), std=(1.0, 0.5, 0.2)))
    # a pixel of 0.6 is 0.6, 0.8 and 1 for the data set, and (0.6 - 0.5) / 0.5 = 0.2 for the network
    network.eval()(torch.tensor([0.6, 0.8, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    torch.testing.assert_close(seen[0], torch.full((1, 3, 32, 32), 0.2))


def test_what_timm_says_of_its_weights():
    augreg = normalisation.of_pretrained("vit_base_patch16_224.augreg_in21k", 3)
    assert augreg == HALF
    assert normalisation.of_pretrained("resnet34.tv_in1k", 3) == IMAGENET
    assert normalisation.of_pretrained("cifar_resnet8", 3) is None
    grey = normalisation.of_pretrained("resnet34.tv_in1k", 1)
    assert grey.mean == pytest.approx([0.449])  # (0.485 + 0.456 + 0.406) / 3
    assert grey.std == pytest.approx([0.226])
