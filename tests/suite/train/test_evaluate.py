"""Accuracy, likelihood and agreement on a split whose figures can be counted by hand."""

import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from suite.config import DataConfig
from suite.interface.distiller import Batch
from suite.store import choices
from suite.store.record import RunDirectory
from suite.train.evaluate import evaluate

LABELS = torch.tensor([0, 1, 2, 3])


class FourImages:
    """Image i is the vector of logits that the identity network gives for it."""

    logits = torch.tensor(
        [
            [4.0, 0, 0, 0, 0, 0],  # right
            [5.0, 4, 3, 2, 1, 0],  # wrong, label second
            [5.0, 4, 0, 3, 2, 1],  # wrong, label last of six: not in the top five
            [0.0, 0, 0, 9, 0, 0],  # right
        ]
    )

    def __len__(self):
        return 4

    def batches(self, batch_size, rank=0, world_size=1):
        for start in range(2 * rank, 4, 2 * world_size):
            rows = slice(start, start + 2)
            yield Batch(self.logits[rows], LABELS[rows], torch.arange(4)[rows])


@pytest.fixture
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def test_top1_top5_and_likelihood_are_means_over_images(fabric):
    found = evaluate(fabric, nn.Identity(), FourImages()).figures
    log_softmax = FourImages.logits.log_softmax(1)
    nll = -sum(log_softmax[i, i].item() for i in range(4)) / 4
    assert found["top1_percent"] == 50.0
    assert found["top5_percent"] == 75.0
    assert math.isclose(found["nll"], nll, rel_tol=1e-6)
    assert "agreement_percent" not in found


def test_agreement_counts_equal_choices_right_or_wrong(fabric):
    teacher_choice = torch.tensor([0, 0, 2, 3])  # the network chooses 0, 0, 0, 3
    found = evaluate(fabric, nn.Identity(), FourImages(), teacher_choice).figures
    assert found["agreement_percent"] == 75.0


def test_choices_come_in_the_order_of_the_split(fabric):
    assert evaluate(fabric, nn.Identity(), FourImages()).choice.tolist() == [0, 0, 0, 3]


def test_kept_choices_come_back_for_the_same_images_only(tmp_path):
    run, data = RunDirectory(tmp_path), DataConfig(name="digits", train_limit=100)
    assert choices.load(run, data) == {}
    choices.save(run, data, {"val": torch.tensor([3, 1])})
    assert choices.load(run, DataConfig(name="digits"))["val"].tolist() == [3, 1]
    assert choices.load(run, DataConfig(name="digits", image_size=16)) == {}
    run.choices.write_bytes(run.choices.read_bytes()[:50])
    assert choices.load(run, data) is None


def test_the_training_mode_is_put_back(fabric):
    network = nn.Dropout(0.5)
    for mode in (True, False):
        network.train(mode)
        evaluate(fabric, network, FourImages())
        assert network.training is mode
