"""The contract catches methods that break it."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from method_setup import make_batch, make_setup

from baselines.fitnet import FitNet
from baselines.kd import KD
from suite.interface import testing
from suite.interface.distiller import Reads

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
    line = rf"test_testing.py:{act.__code__.co_firstlineno}: .*waits for the device"
    with pytest.raises(AssertionError, match=line):
        testing.a_step_works_on_a_gpu_that_is_not_there(breaking(act), SETUP, make_batch(SETUP()))


def test_one_hot_with_the_number_of_classes_waits_for_no_gpu():
    """Its checks of the labels are made on a CPU only; without the number it reads the largest."""
    one_hot = torch.nn.functional.one_hot
    known = breaking(lambda logits, label: one_hot(label, logits.shape[1]))
    named = breaking(lambda logits, label: one_hot(label, num_classes=logits.shape[1]))
    for method in (known, named):
        testing.a_step_works_on_a_gpu_that_is_not_there(method, SETUP, make_batch(SETUP()))
    unknown = breaking(lambda logits, label: one_hot(label))  # noqa: ARG005
    with pytest.raises(AssertionError, match=r"test_testing.py:\d+: the step calls"):
        testing.a_step_works_on_a_gpu_that_is_not_there(unknown, SETUP, make_batch(SETUP()))
    after = breaking(lambda logits, label: one_hot(label, logits.shape[1]).sum().item())
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        testing.a_step_works_on_a_gpu_that_is_not_there(after, SETUP, make_batch(SETUP()))


def test_a_value_read_in_the_backward_pass_is_placed_there():
    def read(gradient):
        return gradient * gradient.sum().item()

    act = breaking(lambda logits, label: logits.register_hook(read))  # noqa: ARG005
    with pytest.raises(AssertionError, match=r"test_testing.py.*waits for the device"):
        testing.a_step_works_on_a_gpu_that_is_not_there(act, SETUP, make_batch(SETUP()))


def test_a_step_that_stays_on_the_device_is_not():
    act = breaking(lambda logits, label: logits.gather(1, label[:, None]) * (label == 0)[:, None])
    testing.a_step_works_on_a_gpu_that_is_not_there(act, SETUP, make_batch(SETUP()))


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


def test_a_further_view_that_no_loss_reads_is_caught():
    class Idle(KD):
        def views(self):
            return ("redrawn", "randaugment")

        def losses(self, batch, student, teacher, progress):
            terms = super().losses(batch, student, teacher, progress)
            return terms | {"second": student.views["redrawn"].logits.square().mean()}

    with pytest.raises(AssertionError, match="view randaugment does not change the loss"):
        testing.every_further_view_counts(Idle, SETUP, make_batch(SETUP()))


@pytest.mark.parametrize(
    ("method", "said", "left_out"),
    [(KD, Reads.FEATURES, "logits"), (FitNet, Reads.LOGITS, "features")],
)
def test_what_is_read_and_not_declared_is_caught(method, said, left_out):
    class Silent(method):
        reads = said

    with pytest.raises(AssertionError, match=f"declares to read no {left_out}, and without them"):
        testing.a_teacher_without_what_is_not_read_is_enough(Silent, SETUP, make_batch(SETUP()))
