"""What may be written after SET= and --set."""

import pytest

from suite.config import ConfigError
from sweeps.plan.overrides import read, tokens


def test_spaces_inside_brackets_belong_to_the_value():
    assert tokens(["seeds=[0, 1]  epochs=5", "pairs=[a/b, c/d]"]) == [
        "seeds=[0, 1]",
        "epochs=5",
        "pairs=[a/b, c/d]",
    ]


def test_spaces_inside_quotes_belong_to_the_value():
    assert tokens(["data.name=\"my birds\" epochs=5 models={a: {name: 'x [y'}} x=don't y=1"]) == [
        'data.name="my birds"',
        "epochs=5",
        "models={a: {name: 'x [y'}}",
        "x=don't",
        "y=1",
    ]
    assert read(['data.name="my birds"'])[0] == {"data": {"name": "my birds"}}


def test_short_names_dotted_names_and_method_options_find_their_place():
    changes, options = read(["seeds=[0,1] epochs=5 optimizer.lr=1e-3 dkd.beta=2 train_limit=null"])
    assert changes == {
        "seeds": [0, 1],
        "train": {"epochs": 5},
        "optimizer": {"lr": 0.001},
        "data": {"train_limit": None},
    }
    assert options == {"dkd": {"beta": 2}}


def test_a_teachers_section_is_reached_by_its_full_name():
    assert read(["teacher.train.epochs=3"])[0] == {"teacher": {"train": {"epochs": 3}}}


def test_an_ambiguous_short_name_is_refused_with_the_candidates():
    with pytest.raises(ConfigError, match=r"name: say which: data\.name, optimizer\.name"):
        read(["name=digits"])


def test_every_fault_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        read(["epoch=5 kd.temp=3 nothing dkd.beta=[1"])
    text = str(error.value)
    assert "4 fault(s)" in text
    assert "unknown key 'epoch'" in text
    assert "unknown key 'kd.temp', field 'temp'; known: ce_weight, kd_weight, temperature" in text
    assert "'nothing': write KEY=VALUE" in text
    assert "dkd.beta=[1: no valid YAML: line 1: expected" in text
