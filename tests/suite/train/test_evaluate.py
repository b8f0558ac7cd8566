"""Accuracy, likelihood and agreement on a split whose figures can be counted by hand."""

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from suite.config import DataConfig
from suite.interface.distiller import Batch
from suite.store import predictions
from suite.store.predictions import Predictions
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


def test_agreement_counts_equal_classes_right_or_wrong(fabric):
    teacher = torch.tensor([0, 0, 2, 3])  # the network predicts 0, 0, 0, 3
    found = evaluate(fabric, nn.Identity(), FourImages(), teacher).figures
    assert found["agreement_percent"] == 75.0


def test_predictions_come_in_the_order_of_the_split(fabric):
    found = evaluate(fabric, nn.Identity(), FourImages()).predictions
    assert found.predicted.tolist() == [0, 0, 0, 3]
    assert found.label.tolist() == [0, 1, 2, 3]
    first = math.exp(4) / (math.exp(4) + 5)
    assert math.isclose(found.confidence[0], first, rel_tol=1e-6)
    assert math.isclose(found.nll[0], -math.log(first), rel_tol=1e-5)
    assert found.nll[1] > found.nll[0]
    assert found.teacher_kl is None


def test_the_distance_to_the_teacher_is_kl_of_the_teacher_to_the_network(fabric):
    teacher = nn.Threshold(100.0, 0.0)  # all logits 0: each of six classes has 1/6
    found = evaluate(fabric, nn.Identity(), FourImages(), teacher=teacher).predictions
    log_p = FourImages.logits.double().log_softmax(1)
    expected = (-log_p.mean(1) - math.log(6)).tolist()
    assert found.teacher_kl.tolist() == pytest.approx(expected, rel=1e-5)
    same = evaluate(fabric, nn.Identity(), FourImages(), teacher=nn.Identity()).predictions
    assert same.teacher_kl.tolist() == [0.0] * 4


def test_kept_predictions_come_back_for_the_same_images_only(tmp_path):
    run, data = RunDirectory(tmp_path), DataConfig(name="digits", train_limit=100)
    assert predictions.load(run, data) == {}
    made = Predictions(
        np.array([3, 1]), np.array([3, 300]), np.array([0.5, 0.75]), np.array([2, 9.0])
    )
    predictions.save(run, data, {"val": made})
    kept = predictions.load(run, DataConfig(name="digits"))["val"]
    assert kept.predicted.tolist() == [3, 1]
    assert kept.label.tolist() == [3, 300]
    assert kept.confidence.tolist() == [0.5, 0.75]
    assert kept.nll.tolist() == [2.0, 9.0]
    assert kept.teacher_kl is None
    assert predictions.load(run)["val"].label.tolist() == [3, 300]
    assert predictions.load(run, DataConfig(name="digits", image_size=16)) == {}
    run.predictions.write_bytes(run.predictions.read_bytes()[:50])
    assert predictions.load(run, data) is None


def test_ten_thousand_images_take_less_than_a_hundred_kilobytes(tmp_path):
    rng, run = np.random.default_rng(0), RunDirectory(tmp_path)
    logits = 3 * rng.standard_normal((10_000, 100))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = rng.integers(100, size=10_000)
    nll = -np.log(p[np.arange(10_000), label])
    made = Predictions(p.argmax(1), label, p.max(1), nll, nll / 2)
    predictions.save(run, DataConfig(name="cifar100"), {"test": made})
    assert 50_000 < run.predictions.stat().st_size < 100_000
    kept = predictions.load(run)["test"]
    assert kept.predicted.dtype == np.uint8
    assert math.isclose(kept.nll.astype(float).mean(), nll.mean(), rel_tol=1e-4)


def test_the_training_mode_is_put_back(fabric):
    network = nn.Dropout(0.5)
    for mode in (True, False):
        network.train(mode)
        evaluate(fabric, network, FourImages())
        assert network.training is mode
