"""Chosen settings as a file, and what a sweep makes of them."""

import json

import pytest
import simulated
import yaml

from suite.config import ConfigError
from suite.interface.errors import UserError
from sweeps.plan import tuned
from sweeps.plan.expand import expand
from sweeps.search import export
from sweeps.search.plan import load

SPACE = {
    "kd": {
        "space": {
            "temperature": "tunable",
            "kd_weight": "tunable",
            "optimizer.lr": {"low": 0.01, "high": 0.1, "log": True},
        }
    }
}


@pytest.fixture
def searched(tmp_path):
    path = simulated.write_search(tmp_path, methods=SPACE)
    driver = simulated.drive_alone(path, tmp_path / "runs")
    return load(path), driver


def write_experiment(tmp_path, folder, **changes):
    path = tmp_path / "mine.yaml"
    content = {
        "recipe": "digits",
        "pairs": ["teacher/student"],
        "methods": ["kd", "at"],
        "seeds": [0],
        "tuned": str(folder),
        **changes,
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def rows(plan, method):
    return [cell for cell in plan.cells if cell.spec.label == method]


def test_the_file_says_what_was_chosen_and_how(searched, tmp_path):
    plan, driver = searched
    chosen = export.tuned_settings(plan, driver.studies[0])
    path = tuned.write(chosen, tmp_path / "tuned")
    assert path == tmp_path / "tuned" / "quick" / "kd.yaml"
    best = driver.studies[0].study.best_trial
    found = yaml.safe_load(path.read_text())
    assert found["options"] == {key: value for key, value in best.params.items() if "." not in key}
    assert found["optimizer"] == {"lr": best.params["optimizer.lr"]}
    how = found["chosen"]
    assert how["split"] == "val"
    assert how["budget"] == {"trials": 14}
    assert sum(how["trials"].values()) == 14
    assert how["best_value"] == best.value >= how["default_value"]
    assert how["study"].startswith("quick/kd@")
    assert how["study_sha256"] == export.trials_sha256(driver.studies[0])


def test_a_sweep_takes_the_settings_and_says_so(searched, tmp_path):
    plan, driver = searched
    chosen = export.tuned_settings(plan, driver.studies[0])
    folder = tuned.write(chosen, tmp_path / "tuned").parent
    swept = expand(write_experiment(tmp_path, folder))
    (kd,), (at,) = rows(swept, "kd"), rows(swept, "at")
    assert kd.spec.config.method.options["temperature"] == chosen.options["temperature"]
    assert kd.spec.config.optimizer.lr == chosen.optimizer["lr"]
    assert at.spec.config.optimizer.lr == 0.05
    manifest = json.loads(swept.write_manifest(tmp_path / "runs").read_text())
    marks = {row["label"]: row["tuned"] for row in manifest["runs"]}
    assert marks["at"] is None
    assert marks["teacher"] is None
    assert marks["kd"] == chosen.mark()
    assert marks["kd"]["trials"] == 14
    assert marks["kd"]["split"] == "val"


def test_options_of_a_row_and_of_the_command_line_win(searched, tmp_path):
    plan, driver = searched
    chosen = export.tuned_settings(plan, driver.studies[0])
    folder = tuned.write(chosen, tmp_path / "tuned").parent
    row = {"name": "kd", "options": {"temperature": 7.5}}
    path = write_experiment(tmp_path, folder, methods=[row])
    (kd,) = rows(expand(path, ["kd.kd_weight=0.25 lr=0.02"]), "kd")
    assert kd.spec.config.method.options["temperature"] == 7.5
    assert kd.spec.config.method.options["kd_weight"] == 0.25
    assert kd.spec.config.optimizer.lr == 0.02


def test_settings_that_are_not_there_are_asked_for_by_name(tmp_path):
    path = write_experiment(tmp_path, "no_such_search")
    with pytest.raises(UserError, match="make search EXP=no_such_search writes them"):
        expand(path)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda text: text.replace("options:", "optoins:"), "optoins"),
        (lambda text: text[: len(text) // 2], "kd.yaml"),
        (lambda _: "", "must be a mapping"),
        (lambda _: "{[", "no valid YAML: line 1"),
    ],
)
def test_a_damaged_file_is_refused_by_name_with_the_cure(searched, tmp_path, damage, fault):
    plan, driver = searched
    path = tuned.write(export.tuned_settings(plan, driver.studies[0]), tmp_path / "tuned")
    path.write_text(damage(path.read_text()))
    with pytest.raises(ConfigError, match=fault) as raised:
        expand(write_experiment(tmp_path, path.parent))
    assert str(path) in str(raised.value)
    assert str(raised.value).endswith("make search EXP=quick writes it anew")


def test_a_grid_is_a_row_for_each_of_its_points():
    plan = expand("dskd_sensitivity")
    labels = {cell.spec.label for cell in plan.cells if cell.pair}
    assert len(labels) == 25
    assert "dskd diffusion_steps=1 hash_bits=64" in labels
    (cell,) = [
        it
        for it in plan.cells
        if it.spec.label == "dskd diffusion_steps=20 hash_bits=8192" and it.spec.config.seed == 2
    ]
    assert cell.spec.config.method.options["diffusion_steps"] == 20
    assert cell.spec.config.method.options["hash_bits"] == 8192


@pytest.mark.parametrize("grid", [[1, 2], {"diffusion_steps": 5}, {"diffusion_steps": []}])
def test_a_grid_that_is_none_is_refused(tmp_path, grid):
    row = {"name": "dskd", "grid": grid}
    with pytest.raises(ConfigError, match=r"grid: must be OPTION: \[VALUE, ...\]"):
        expand(write_experiment(tmp_path, "unused", methods=[row]))


@pytest.mark.parametrize("name", ["dskd_digits_search", "dskd_cifar_search"])
def test_the_searches_that_ship_are_sound(name):
    plan = load(name)
    assert plan.settings.budget.trials >= 30
    for tuning in plan.tunings:
        assert {"diffusion_steps", "hash_bits"} <= set(tuning.space) or tuning.method != "dskd"
        assert set(tuning.defaults()) == set(tuning.space)
