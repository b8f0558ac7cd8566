"""A wrong space is refused before anything starts, all faults in one message."""

import pytest
import simulated
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from suite.config import ConfigError
from sweeps.search import space as spaces
from sweeps.search.plan import load


def refused(tmp_path, **changes):
    with pytest.raises(ConfigError) as raised:
        load(simulated.write_search(tmp_path, **changes))
    return str(raised.value)


def read(method, wanted):
    faults = []
    return spaces.read(method, wanted, faults), faults


def test_tunable_takes_every_range_that_the_method_declares():
    space, faults = read("fitnet", "tunable")
    assert not faults
    assert space == {
        "ce_weight": FloatDistribution(0.0, 1.0),
        "hint_weight": FloatDistribution(1.0, 1000.0, log=True),
        "hint": CategoricalDistribution(["stage1", "stage2", "stage3"]),
    }


def test_whole_numbers_stay_whole_and_fractions_are_fractions():
    space, faults = read(
        "crd",
        {
            "feature_dim": {"low": 16, "high": 64, "log": True},
            "negatives": {"low": 256, "high": 1024, "step": 256},
            "crd_weight": {"low": 0, "high": 2},
            "optimizer.lr": {"low": 0.01, "high": 0.1, "log": True},
            "mode": ["exact", "relax"],
        },
    )
    assert not faults
    assert space["feature_dim"] == IntDistribution(16, 64, log=True)
    assert space["negatives"] == IntDistribution(256, 1024, step=256)
    assert space["crd_weight"] == FloatDistribution(0.0, 2.0)
    assert space["optimizer.lr"] == FloatDistribution(0.01, 0.1, log=True)
    assert space["mode"] == CategoricalDistribution(["exact", "relax"])


def test_a_combined_method_declares_the_ranges_of_its_parts_and_labels_once():
    space, faults = read("fitnet+kd", "tunable")
    assert not faults
    assert space["fitnet.ce_weight"] == FloatDistribution(0.0, 1.0)
    assert space["fitnet.hint"] == CategoricalDistribution(["stage1", "stage2", "stage3"])
    assert {"kd.temperature", "kd.kd_weight"} <= set(space)
    assert "kd.ce_weight" not in space


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("temperature", "name the part: fitnet.temperature, kd.temperature"),
        ("kd.hint", "unknown option of kd 'hint'"),
        ("crd.crd_weight", "only optimizer, schedule, train can be searched"),
    ],
)
def test_options_of_a_combined_method_are_those_of_its_parts(name, says):
    space, faults = read("fitnet+kd", {name: {"low": 1.0, "high": 2.0}})
    assert not space
    assert says in faults[0]


def test_a_trial_of_a_combined_method_sets_the_options_of_its_parts(tmp_path):
    space = {
        "kd.temperature": {"low": 2.0, "high": 8.0},
        "fitnet.hint_weight": "tunable",
        "optimizer.lr": {"low": 0.01, "high": 1.0},
    }
    plan = load(simulated.write_search(tmp_path, methods={"fitnet+kd": {"space": space}}))
    (tuning,) = plan.tunings
    assert tuning.defaults()["kd.temperature"] == 4.0
    values = {"kd.temperature": 5.0, "fitnet.hint_weight": 7.0, "optimizer.lr": 0.25}
    config = tuning.specs(values)[0].config
    assert config.method.options["kd"]["temperature"] == 5.0
    assert config.method.options["fitnet"]["hint_weight"] == 7.0
    assert config.optimizer.lr == 0.25
    assert spaces.fields(values) == {
        "options": {"kd": {"temperature": 5.0}, "fitnet": {"hint_weight": 7.0}},
        "optimizer": {"lr": 0.25},
    }


@pytest.mark.parametrize(
    ("field", "wanted", "says"),
    [
        ("temperature", {"low": 8.0, "high": 2.0}, "low 8.0 is above high 2.0"),
        ("kd_weight", {"low": 0, "high": 1, "log": True}, "a log scale cannot begin at 0"),
        ("temperatur", "tunable", "unknown option 'temperatur' (did you mean temperature?)"),
        ("temperature", {"low": "warm", "high": 2.0}, "low must be a number (given: 'warm')"),
        ("kd_weight", {"low": "1e-3", "high": 2.0}, "in YAML write 0.001"),
        ("temperature", [], "no choices given"),
        ("temperature", [1.0, "hot"], "choice 'hot' is refused"),
        ("temperature", [4.0, 4.0], "4.0 twice"),
        ("temperature", {"low": 0.0, "high": 4.0}, "low 0.0 is refused"),
        ("temperature", {"low": 1.0}, "high is missing"),
        ("temperature", {"low": 1.0, "hi": 2.0}, "unknown key 'hi' (did you mean high?)"),
        ("temperature", {"low": 1.0, "high": 2.0, "step": 0}, "step must be a number above 0"),
        ("temperature", {"low": 1, "high": 2, "log": 1}, "log must be true or false (given: 1)"),
        ("temperature", 4.0, "write 'tunable', {low, high, log, step} or [choices] (given: 4.0)"),
        ("optimizer.speed", {"low": 0.1, "high": 1.0}, "unknown field of optimizer 'speed'"),
        ("train.epochs", {"low": 10, "high": 20}, "only optimizer, schedule, train can be"),
        ("train.batch_size", {"low": 16.5, "high": 32}, "low 16.5 is refused"),
        ("data.train_limit", {"low": 10, "high": 20}, "only optimizer, schedule, train"),
        ("optimizer.lr", "tunable", "declares no range of its own"),
    ],
)
def test_each_fault_of_a_parameter_is_named(field, wanted, says):
    space, faults = read("kd", {field: wanted})
    assert not space
    assert any(fault.startswith(f"kd.{field}: ") and says in fault for fault in faults), faults


def test_all_faults_of_a_search_are_told_at_once(tmp_path):
    text = refused(
        tmp_path,
        methods={
            "kd": {"space": {"temperature": {"low": 8.0, "high": 2.0}, "beta": "tunable"}},
            "dkdd": "tunable",
            "dskd": {"space": {"hash_bits": []}},
        },
        budget={"trials": 0},
        pruner={"name": "wilcoxon"},
        data={"train_split": "trainval"},
        colour="red",
    )
    for part in (
        "kd.temperature: low 8.0 is above high 2.0",
        "kd.beta: unknown option 'beta'",
        "unknown method 'dkdd' (did you mean dkd?)",
        "dskd.hash_bits: no choices given",
        "budget.trials: Input should be greater than or equal to 1",
        "colour: Extra inputs are not permitted",
    ):
        assert part in text
    assert "6 fault(s)" in text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"train_split": "trainval"}}, "validation images are held out"),
        ({"data": {"eval_splits": ["val", "test"]}}, "a search evaluates on val alone"),
        ({"experiment": "dskd_digit"}, "did you mean dskd_digits"),
        ({"pair": "teacher/nobody"}, "nobody"),
        ({"pruner": "wilcoxon"}, "can stop nothing with 1 seed(s); give 5 or more"),
        ({"objective": {"second": "seconds_per_step"}}, "second objective it must be 'none'"),
        ({"sampler": "grid"}, "sampler 'grid' needs choices"),
        ({"budget": {"trials": 3, "hours": 1.0}}, "give trials or hours"),
        ({"seeds": [1, 1]}, "a seed is given more than once"),
        (
            {"sampler": "cmaes", "methods": {"fitnet": "tunable"}},
            "sampler 'cmaes' has no use for choices (hint)",
        ),
        (
            {"methods": {"kd": {"space": "tunable", "options": {"temperature": 2.0}}}},
            "kd.temperature: is searched and fixed at the same time",
        ),
        (
            {
                "methods": {
                    "fitnet+kd": {
                        "space": {"kd.temperature": "tunable"},
                        "options": {"kd": {"temperature": 2.0}},
                    }
                }
            },
            "fitnet+kd.kd.temperature: is searched and fixed at the same time",
        ),
        ({"methods": ["scratch"]}, "scratch"),
        ({"train": {"epoch": 3}}, "epoch"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, says):
    assert says in refused(tmp_path, **changes)


def test_nothing_is_written_when_a_search_is_refused(tmp_path):
    from suite.interface.errors import UserError
    from sweeps.search.launch import search

    path = simulated.write_search(tmp_path, budget={"trials": 0})
    root = tmp_path / "runs"
    with pytest.raises(UserError):
        search(path, (), simulated.runtime_of(root))
    assert not root.exists()
