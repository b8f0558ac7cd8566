"""Run configurations: closed, frozen, hashed, and every fault told at once."""

import copy

import pytest
from pydantic import ValidationError

from suite.config import ConfigError, RunConfig, TeacherConfig, parse
from suite.store.states import apart, teacher_run_ids, together

SCRATCH = {
    "data": {"name": "digits"},
    "student": {"name": "cifar_resnet8"},
    "method": "scratch",
    "optimizer": {"lr": 0.1},
    "train": {"epochs": 1},
}
KD = SCRATCH | {"method": "kd", "teacher": {"name": "cifar_resnet20", "run_id": "0" * 16}}


def changed(values, **sections):
    values = copy.deepcopy(values)
    for name, section in sections.items():
        old = values.get(name)
        merge = isinstance(old, dict) and isinstance(section, dict)
        values[name] = old | section if merge else section
    return RunConfig.model_validate(values)


def test_the_same_settings_have_the_same_id_however_they_are_written():
    plain = RunConfig.model_validate(SCRATCH)
    assert changed(SCRATCH, seed=0, train={"batch_size": 64}).run_id == plain.run_id
    assert RunConfig.model_validate(plain.model_dump(mode="json")).run_id == plain.run_id
    assert RunConfig.model_validate(dict(reversed(SCRATCH.items()))).run_id == plain.run_id


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"train": {"epochs": 2}},
        {"data": {"classes": 5}},
        {"optimizer": {"lr": 0.2}},
        {"student": {"options": {"widths": [4, 4, 8, 16]}}},
        {"method": {"name": "kd", "options": {"temperature": 2.0}}},
        {"teacher": {"run_id": "1" * 16}},
    ],
)
def test_whatever_changes_the_numbers_changes_the_id(change):
    assert changed(KD, **change).run_id != RunConfig.model_validate(KD).run_id


def test_a_method_may_be_given_by_name_and_gets_all_its_options():
    config = RunConfig.model_validate(KD)
    assert config.method.options == {"temperature": 4.0, "ce_weight": 0.1, "kd_weight": 0.9}


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        RunConfig.model_validate(SCRATCH).seed = 3


def test_every_fault_is_named_with_the_value_that_was_given():
    values = copy.deepcopy(SCRATCH)
    values["train"] = {"epochs": 0, "batches": 3}
    values["optimizer"]["lr"] = float("nan")
    with pytest.raises(ConfigError) as error:
        parse(RunConfig, values, "run x")
    lines = str(error.value).splitlines()
    assert lines[0] == "run x: 3 fault(s)"
    assert any("optimizer.lr" in line and "nan" in line for line in lines)
    assert any("train.epochs" in line and "given: 0" in line for line in lines)
    assert any("train.batches: Extra inputs" in line for line in lines)


def test_a_teacher_is_there_exactly_when_the_method_uses_one():
    with pytest.raises(ValidationError, match="'kd' needs a teacher"):
        changed(SCRATCH, method="kd")
    with pytest.raises(ValidationError, match="'scratch' takes no teacher"):
        changed(KD, method="scratch")


@pytest.mark.parametrize("sources", [{}, {"run_id": "0" * 16, "pretrained": True}])
def test_a_teacher_has_exactly_one_source(sources):
    teacher = {"name": "cifar_resnet20", **sources}
    with pytest.raises(ValidationError, match="exactly one of run_id, checkpoint, pretrained"):
        RunConfig.model_validate(KD | {"teacher": teacher})


def test_an_ensembles_parts_are_single_networks_with_logits_and_give_it_its_name():
    one, other = (TeacherConfig(name=name, run_id="0" * 16) for name in ("a", "b"))
    both = TeacherConfig(name="a+b", ensemble=(one, other))
    assert (both.members, both.run_ids) == ((one, other), ("0" * 16,) * 2)
    assert (one.members, one.run_ids) == ((one,), ("0" * 16,))
    assert "ensemble" not in one.model_dump()
    for teacher in (one, both):
        assert teacher_run_ids({"teacher": teacher.model_dump(mode="json")}) == teacher.run_ids
        assert together({"teacher": teacher.model_dump(mode="json")}) == teacher.trained_by
        assert apart(teacher.trained_by) == [*teacher.run_ids]
    assert teacher_run_ids({"teacher": None}) == ()
    assert (together({"teacher": None}), apart(None), apart(float("nan"))) == (None, [], [])
    assert TeacherConfig.model_validate(both.model_dump(mode="json")) == both
    bare = TeacherConfig(name="c", pretrained=True, options={"num_classes": 0})
    for wrong in (
        {"name": "a", "ensemble": (one, other)},
        {"name": "a", "ensemble": (one,)},
        {"name": "a+b", "ensemble": (one, other), "pretrained": True},
        {"name": "a+c", "ensemble": (one, bare)},
        {"name": "a+a+b", "ensemble": (one, both)},
    ):
        with pytest.raises(ValidationError):
            TeacherConfig.model_validate(wrong)
