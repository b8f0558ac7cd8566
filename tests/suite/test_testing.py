"""The contract catches methods that break it."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from method_setup import make_batch, make_setup

from baselines.kd import KD
from suite import testing

SETUP = partial(make_setup, "cifar_resnet8", "cifar_resnet8x4")


def breaking(act):
    """KD that does something with the student's logits and the labels at every step."""

    class Breaking(KD):
        def losses(self, batch, student, teacher, progress):
            act(student.logits, batch.label)
            return super().losses(batch, student, teacher, progress)

    return Breaking


@pytest.mark.parametrize(
    "act",
    [
        lambda logits, label: logits.sum().item(),  # noqa: ARG005
        lambda logits, label: bool((label == 0).any()) and logits,
        lambda logits, label: logits[label == 0],
        lambda logits, label: logits.detach()[label == 0].zero_(),
        lambda logits, label: label.unique() + logits.argmax(),
    ],
    ids=["item", "bool", "mask", "mask without gradient", "unique"],
)
def test_a_step_that_reads_a_value_back_is_caught(act):
    with pytest.raises(AssertionError, match="waits for the device"):
        testing.a_step_reads_no_value_back(breaking(act), SETUP, make_batch(SETUP()))


def test_a_step_that_stays_on_the_device_is_not():
    act = breaking(lambda logits, label: logits.gather(1, label[:, None]) * (label == 0)[:, None])
    testing.a_step_reads_no_value_back(act, SETUP, make_batch(SETUP()))


@pytest.mark.parametrize(("said", "holds"), [(0, False), (4, True)])
def test_what_grows_with_the_training_set_must_be_declared(said, holds):
    """A float32 for every training image, of which ``memory`` says so many bytes."""

    class Table(KD):
        def __init__(self, config, setup):
            super().__init__(config, setup)
            self.register_buffer("table", torch.zeros(setup.train_size))

        @classmethod
        def memory(cls, config, train_size):  # noqa: ARG003
            return said * train_size

    with nullcontext() if holds else pytest.raises(AssertionError, match="memory\\(\\) says 0"):
        testing.what_grows_with_the_training_set_is_declared(Table, SETUP, make_batch(SETUP()))
