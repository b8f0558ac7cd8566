"""The linear classifier of the probe, and the images that a frozen network gets."""

import pytest
import torch
from torch.nn import functional

from suite.config import DataConfig, FolderContents
from suite.data import DataError
from suite.evaluation.finished import task_of, with_channels
from suite.evaluation.probe import Training, fit
from suite.interface.errors import UserError
from suite.interface.rng import generator


def clouds(classes=4, each=50, width=6):
    stream = generator(0, "clouds")
    labels = torch.arange(classes * each) % classes
    centres = 3 * torch.randn(classes, width, generator=stream)
    return centres[labels] + torch.randn(len(labels), width, generator=stream), labels


def test_classes_that_a_line_parts_are_learned():
    features, labels = clouds()
    classifier = fit(features, labels, 4, Training(epochs=10))
    assert (classifier(features).argmax(dim=1) == labels).double().mean() > 0.95


def test_one_step_is_the_gradient_step_by_hand():
    features, labels = clouds(classes=2, each=4)
    start = fit(features, labels, 2, Training(epochs=1, lr=1e-12, momentum=0, batch_size=8))
    weight, bias = start.weight.clone().requires_grad_(), start.bias.clone().requires_grad_()
    loss = functional.cross_entropy(features @ weight.T + bias, labels)
    gradient, _ = torch.autograd.grad(loss, (weight, bias))
    stepped = fit(features, labels, 2, Training(epochs=1, lr=0.5, momentum=0, batch_size=8))
    assert torch.allclose(stepped.weight, weight - 0.5 * gradient, atol=1e-6)


def test_the_same_training_gives_the_same_bits_and_leaves_the_global_stream():
    features, labels = clouds()
    before = torch.get_rng_state()
    first, second = (fit(features, labels, 4, Training(epochs=3)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.get_rng_state(), before)
    other = fit(features, labels, 4, Training(epochs=3, seed=1))
    assert not torch.equal(first.weight, other.weight)


def test_a_training_that_diverges_says_so():
    features, labels = clouds()
    with pytest.raises(UserError, match=r"lr 1e\+38: the linear classifier diverged; give a small"):
        fit(features, labels, 4, Training(epochs=3, lr=1e38))


def test_colours_become_grey_by_luminance_and_grey_three_equal_colours():
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    assert torch.allclose(with_channels(red, 1), torch.full((1, 1, 2, 2), 0.299))
    grey = torch.rand(2, 1, 3, 3)
    assert torch.equal(with_channels(grey, 3), torch.cat([grey] * 3, dim=1))
    with pytest.raises(UserError, match="images of 4 channels for a network of 3: allowed are 1"):
        with_channels(torch.zeros(1, 4, 2, 2), 3)


def test_what_a_run_was_trained_for_is_known_without_its_images():
    assert task_of(DataConfig(name="cifar100")).image_shape == (3, 32, 32)
    some = task_of(DataConfig(name="cifar100", classes=20, class_block=2, image_size=24))
    assert (some.num_classes, some.image_shape) == (20, (3, 24, 24))
    contents = FolderContents(sha256="0" * 16, classes=7, images={"train": 70})
    folder = task_of(DataConfig(name="birds", contents=contents))
    assert (folder.num_classes, folder.image_shape) == (7, (3, 224, 224))
    with pytest.raises(DataError, match=r"data\.contents: missing"):
        task_of(DataConfig(name="birds"))
