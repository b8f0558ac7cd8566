"""The interface itself: tunable fields, progress, and what a method gets for free."""

import pytest
import torch
from method_setup import make_setup
from pydantic import ValidationError

from baselines.kd import KD, KDConfig
from suite import methods
from suite.interface.distiller import MethodConfig, Progress, UnsupportedPair, tunable
from suite.interface.taps import Outputs


class Config(MethodConfig):
    rate: float = tunable(1.0, low=0.1, high=10.0, log=True, gt=0)
    kind: str = tunable("a", choices=["a", "b"])


def spaces(config):
    return {
        name: field.json_schema_extra["tunable"]
        for name, field in config.model_fields.items()
        if field.json_schema_extra
    }


def test_a_tunable_field_carries_its_range_and_its_hard_limits():
    assert spaces(Config) == {
        "rate": {"low": 0.1, "high": 10.0, "log": True},
        "kind": {"choices": ["a", "b"]},
    }
    assert Config(rate=50.0).rate == 50.0  # outside the search range, inside the limits
    with pytest.raises(ValidationError, match="greater than 0"):
        Config(rate=0.0)


@pytest.mark.parametrize("wrong", [{}, {"low": 1.0}, {"low": 0.0, "high": 1.0, "choices": [1]}])
def test_a_tunable_field_takes_a_range_or_choices(wrong):
    with pytest.raises(TypeError, match="either low and high, or choices"):
        tunable(1.0, **wrong)


@pytest.mark.parametrize("name", methods.names())
def test_every_default_lies_in_its_own_search_range(name):
    config = methods.find(name).Config
    for field, space in spaces(config).items():
        default = config.model_fields[field].default
        if "choices" in space:
            assert default in space["choices"], field
        else:
            assert space["low"] <= default <= space["high"], field
            assert space["low"] > 0 or not space["log"], field
            for end in ("low", "high"):
                config.model_validate({field: space[end]})


def test_warm_up_is_linear_from_the_first_epoch():
    factors = [Progress(epoch, 10, 0, 1).warmup(4) for epoch in (1, 2, 4, 5)]
    assert factors == [0.25, 0.5, 1.0, 1.0]
    assert Progress(1, 10, 0, 1).warmup(0) == 1.0


def test_a_method_that_needs_a_teacher_says_so():
    with pytest.raises(UnsupportedPair, match="needs a teacher"):
        make_setup(teacher_name=None).require_teacher()


def test_defaults_of_the_interface_are_a_plain_student():
    setup = make_setup()
    method = KD(KDConfig(), setup)
    outputs = Outputs(torch.randn(2, 5))
    assert method.student_taps() == method.teacher_taps() == ()
    assert method.diagnostics() == {}
    assert method.predict(outputs) is outputs.logits
    assert method.deploy(setup.student) is setup.student.model
