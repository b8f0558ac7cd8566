"""The contract catches methods that break it."""

from functools import partial

import pytest
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
