"""An experiment becomes runs: teachers once, overrides in order, faults all at once."""

import json

import counted_calls
import pytest

from suite.config import ConfigError
from suite.interface.errors import UserError
from sweeps.plan import files
from sweeps.plan.expand import expand, expand_content
from sweeps.plan.experiment import load_recipe
from sweeps.plan.manifest import manifest_path

EXPERIMENT = """\
# A note that
# has two lines.
recipe: RECIPE
pairs: [big/small, big/tiny]
methods: [scratch, kd, {name: kd, label: hot, options: {temperature: 8}}]
seeds: [0, 1]
train: {epochs: 3}
teacher: {train: {epochs: 7}}
"""
RECIPE = """\
data: {name: fake}
optimizer: {lr: 0.1}
train: {epochs: 9, batch_size: 32}
models:
  big: {name: cifar_resnet20}
  small: {name: cifar_resnet8, optimizer: {lr: 0.02}}
  tiny: {name: cifar_resnet8, options: {widths: [4, 4, 8, 8]}}
methods:
  kd: {temperature: 2}
pairs:
  big/tiny: {kd: {temperature: 3}}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    text = EXPERIMENT.replace("RECIPE", str(tmp_path / "recipe.yaml"))
    (tmp_path / "mine.yaml").write_text(text)
    return str(tmp_path / "mine.yaml")


def students(plan, label, pair):
    return [c.spec.config for c in plan.cells if c.spec.label == label and c.pair == pair]


def test_each_teacher_is_trained_once_and_comes_first(path):
    runs = expand(path).runs
    assert [spec.role for spec in runs].count("teacher") == 1
    assert runs[0].role == "teacher"
    assert runs[0].experiment == "teachers"
    assert len(runs) == 1 + 2 * 3 * 2


def test_teacher_and_students_take_their_own_sections(path):
    plan = expand(path)
    teacher = plan.runs[0].config
    assert (teacher.train.epochs, teacher.optimizer.lr, teacher.method.name) == (7, 0.1, "scratch")
    small = students(plan, "kd", "big/small")[0]
    assert (small.train.epochs, small.optimizer.lr, small.train.batch_size) == (3, 0.02, 32)
    assert small.teacher.run_id == plan.runs[0].run_id


def test_options_of_recipe_pair_row_and_command_line_win_in_that_order(path):
    plan = expand(path)

    def temperature(plan, label, pair):
        return students(plan, label, pair)[0].method.options["temperature"]

    assert temperature(plan, "kd", "big/small") == 2
    assert temperature(plan, "kd", "big/tiny") == 3
    assert temperature(plan, "hot", "big/tiny") == 8
    assert temperature(expand(path, ["kd.temperature=5"]), "hot", "big/tiny") == 5


def test_a_row_may_have_sections_of_its_own(path):
    row = {"name": "kd", "label": "two", "optimizer": {"name": "dot", "delta": 0.05}}
    content = files.merge(files.read("experiments", path), {"methods": ["kd", row]})
    found = {cell.spec.label: cell.spec.config for cell in expand_content(content, "mine")}
    assert {name: (it.optimizer.name, it.optimizer.lr) for name, it in found.items()} == {
        "big": ("momentum", 0.1),
        "kd": ("momentum", 0.1),
        "two": ("dot", 0.1),
    }


def test_a_student_without_a_teacher_is_one_run_for_all_its_pairs(path):
    plan = expand(path, ["pairs=[big/tiny,small/tiny] methods=[scratch,kd]"])
    scratch = {c.spec.run_id for c in plan.cells if c.spec.label == "scratch"}
    assert len(scratch) == 2  # one per seed, not per pair


def test_teacher_seeds_are_crossed_with_the_students_seeds(path):
    one, plan = expand(path), expand(path, ["teacher_seeds=[0,5] pairs=[big/small]"])
    teachers = [spec for spec in plan.runs if spec.role == "teacher"]
    assert [spec.config.seed for spec in teachers] == [0, 5]
    assert teachers[0].run_id == one.runs[0].run_id
    kd = [cell.spec for cell in plan.cells if cell.spec.label == "kd"]
    assert [(spec.teacher_seed, spec.config.seed) for spec in kd] == [
        (0, 0),
        (0, 1),
        (5, 0),
        (5, 1),
    ]
    assert [spec.config.teacher.run_id for spec in kd[::2]] == [spec.run_id for spec in teachers]
    alone = [
        s.run_id for s in one.runs if s.label == "kd" and s.config.student.name == "cifar_resnet8"
    ]
    assert {spec.run_id for spec in kd[:2]} <= set(alone)  # the teacher's id is all that differs
    scratch = [cell.spec for cell in plan.cells if cell.spec.label == "scratch"]
    assert [(spec.teacher_seed, spec.config.seed) for spec in scratch] == [(None, 0), (None, 1)]


def test_the_manifest_names_the_seed_of_every_students_teacher(path, tmp_path):
    written = expand(path, ["teacher_seeds=[3,4] pairs=[big/small]"]).write_manifest(tmp_path)
    rows = json.loads(written.read_text())["runs"]
    assert [row["teacher_seed"] for row in rows if row["label"] == "kd"] == [3, 3, 4, 4]
    assert [row["seed"] for row in rows if row["role"] == "teacher"] == [3, 4]


def test_without_methods_that_use_a_teacher_none_is_trained(path):
    assert {spec.role for spec in expand(path, ["methods=[scratch]"]).runs} == {"student"}


def test_teachers_with_weights_of_their_own_are_not_trained(path):
    settings = ["pairs=[resnet18/small]"]
    with_weights = "models: {resnet18: {pretrained: true}}\n"
    text = (files.source("experiments", path)).read_text() + with_weights
    files.source("experiments", path).write_text(text)
    plan = expand(path, settings)
    assert {spec.role for spec in plan.runs} == {"student"}
    assert students(plan, "kd", "resnet18/small")[0].teacher.pretrained


def test_the_manifest_lists_every_cell_with_the_command_and_the_note(path, tmp_path):
    plan = expand(path, ["epochs=1"])
    written = plan.write_manifest(tmp_path)
    assert written == manifest_path(path, ["epochs=1"], tmp_path)
    content = json.loads(written.read_text())
    assert content["note"] == "A note that\nhas two lines."
    assert content["command"] == "make sweep EXP=mine SET='epochs=1'"
    assert len(content["runs"]) == 1 + 2 * 3 * 2
    row = content["runs"][1]
    assert row["pair"] == "big/small"
    assert row["directory"] == f"mine/{row['run_id']}"


def test_overrides_have_a_manifest_of_their_own(path, tmp_path):
    assert manifest_path(path, [], tmp_path).name == "manifest.json"
    assert manifest_path(path, ["epochs=1"], tmp_path).name.startswith("manifest-")


def test_every_wrong_name_is_told_at_once(path):
    with pytest.raises(ConfigError) as error:
        expand(path, ["methods=[kd,foo] pairs=[nobig/small] data.name=mnist"])
    text = str(error.value)
    assert "3 fault(s)" in text
    for fault in ("unknown method 'foo'", "unknown model 'nobig'", "unknown data set 'mnist'"):
        assert fault in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("seeds=[0,0]", "0: given more than once"),
        ("pairs=[big]", "a pair is written TEACHER/STUDENT"),
        ("teacher_seeds=[1,1]", "1: given more than once"),
        ("teacher_seeds=[1] teacher_seed=1", "teacher_seed, teacher_seeds: give one of them"),
        ("epochs=0", "train.epochs: Input should be greater than or equal to 1"),
        ("epochs=many", "train.epochs: Input should be a valid integer"),
        ("methods=[kd,kd]", "label 'kd' twice"),
        ("dkd.beta=2", "dkd: options given, but it is not among the methods"),
        ("kd.temperature=0", "temperature: Input should be greater than 0"),
    ],
)
def test_a_wrong_value_names_the_field_and_what_is_allowed(path, settings, message):
    with pytest.raises(UserError) as error:
        expand(path, [settings])
    assert message in str(error.value)


def test_an_unknown_experiment_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown experiment 'dskd_digit' \(did you mean dskd_dig"):
        expand("dskd_digit")


def test_a_recipe_that_extends_itself_is_refused(tmp_path):
    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"extends: {recipe}\n")
    with pytest.raises(ConfigError, match="extends itself"):
        load_recipe(str(recipe))


@pytest.mark.parametrize("name", files.names("experiments"))
def test_every_shipped_experiment_expands_and_opens_with_a_note(name):
    plan = expand(name)
    assert plan.runs
    assert len(plan.note) > 20


@pytest.mark.parametrize("name", files.names("recipes"))
def test_every_shipped_recipe_is_valid(name):
    load_recipe(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"seeds": list(range(300_000))},
            "1 pairs x 6 methods x 300,000 seeds are 1,800,000 runs; at most 10,000",
        ),
        (
            {"methods": [{"name": "dkd", "grid": {str(i): [0, 1] for i in range(60)}}]},
            f"methods: grid: {2**60:,} points; at most 10,000",
        ),
    ],
    ids=["seeds", "grid"],
)
def test_far_too_many_runs_are_refused_at_once(change, message):
    content = {**files.read("experiments", "dskd_digits"), **change}
    with counted_calls.at_most(10_000), pytest.raises(ConfigError) as caught:
        expand_content(content, "mine")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500
