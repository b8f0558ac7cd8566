"""Every method in every precision through the real engine: a CNN taught by a CNN."""

import every_mode
import pytest

from suite import methods

PAIR = "cnn"
pytestmark = pytest.mark.modes
every_method = pytest.mark.parametrize("method", methods.names())
every_precision = pytest.mark.parametrize("precision", every_mode.PRECISIONS)
half_precision = pytest.mark.parametrize("precision", every_mode.PRECISIONS[1:])


@every_precision
@every_method
def test_stopped_and_resumed_in_a_pack_it_has_the_bits_of_training_alone(method, precision):
    every_mode.check_same_bits_alone_and_packed(method, PAIR, precision)


@every_precision
@every_method
def test_its_losses_are_those_of_float32_for_the_outputs_it_was_given(method, precision):
    every_mode.check_losses_are_those_of_float32(method, PAIR, precision)


@half_precision
@every_method
def test_half_precision_is_float32_up_to_rounding(method, precision):
    every_mode.check_half_precision_is_float32_up_to_rounding(method, PAIR, precision)
