"""The shipped recipes say what their sources say, in options that the methods know."""

import pytest

from suite import methods
from sweeps.plan import files
from sweeps.plan.expand import expand
from sweeps.plan.experiment import load_recipe

SHUFFLE_AND_MOBILE = {"cifar_mobilenet_v2", "cifar_shufflenet_v1", "cifar_shufflenet_v2"}


def options_of(recipe):
    """(where, method, options) of every method section."""
    yield from (("methods", method, options) for method, options in recipe.methods.items())
    for pair, sections in recipe.pairs.items():
        yield from ((pair, method, options) for method, options in sections.items())


@pytest.mark.parametrize("name", files.names("recipes"))
def test_every_option_of_a_recipe_is_one_that_its_method_takes(name):
    for where, method, options in options_of(load_recipe(name)):
        complete = methods.find(method).Config.model_validate(options).model_dump(mode="json")
        assert files.merge(complete, options) == complete, (where, method)


@pytest.mark.parametrize("name", files.names("recipes"))
def test_every_recipe_opens_with_a_note_that_names_its_source(name):
    lines = files.source("recipes", name).read_text().splitlines()
    note = [line for line in lines if line.startswith("#")]
    assert lines[0].startswith("# ")
    assert len(" ".join(note)) > 100


def configs(name, settings=()):
    return [spec.config for spec in expand(name, settings).runs]


def test_cifar_runs_have_the_240_epochs_of_the_literature():
    for config in configs("crd_table2"):
        slow = config.student.name in SHUFFLE_AND_MOBILE
        assert config.optimizer.model_dump() == {
            "name": "momentum",
            "lr": 0.01 if slow else 0.05,
            "lr_batch_size": None,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "decay_norm_and_bias": True,
            "clip_grad_norm": None,
        }
        assert (config.train.epochs, config.train.batch_size) == (240, 64)
        assert config.schedule.milestones == (150, 180, 210)
        assert config.data.train_split == "trainval"


def test_reviewkd_runs_have_twice_the_batch_and_rate_and_nesterov_momentum():
    recipe = load_recipe("cifar100_reviewkd")
    assert recipe.optimizer == {
        "name": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    }
    assert recipe.train == {"epochs": 240, "batch_size": 128}
    assert {recipe.models[name].optimizer["lr"] for name in SHUFFLE_AND_MOBILE} == {0.02}


@pytest.mark.parametrize(
    ("pair", "beta"),
    [
        ("cifar_resnet56/cifar_resnet20", 2),
        ("cifar_resnet110/cifar_resnet32", 2),
        ("cifar_resnet32x4/cifar_resnet8x4", 8),
        ("cifar_wrn_40_2/cifar_wrn_16_2", 6),
        ("cifar_wrn_40_2/cifar_wrn_40_1", 6),
        ("cifar_vgg13/cifar_vgg8", 6),
        ("cifar_vgg13/cifar_mobilenet_v2", 6),
        ("cifar_resnet50/cifar_mobilenet_v2", 8),
        ("cifar_resnet32x4/cifar_shufflenet_v1", 8),
        ("cifar_resnet32x4/cifar_shufflenet_v2", 8),
        ("cifar_wrn_40_2/cifar_shufflenet_v1", 8),
    ],
)
def test_dkd_has_the_beta_of_its_pair(pair, beta):
    runs = configs("dkd_table_same", [f"pairs=[{pair}] methods=[dkd] seeds=[0]"])
    options = runs[-1].method.options
    assert (options["alpha"], options["beta"], options["warmup_epochs"]) == (1.0, beta, 20)
    assert options["temperature"] == 4.0


def test_imagenet_students_learn_from_torchvisions_weights_without_a_teacher_run():
    for config in configs("dkd_table_imagenet"):
        assert (config.train.epochs, config.train.batch_size) == (100, 512)
        assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.2, 1e-4)
        if config.teacher is not None:
            assert config.teacher.pretrained
            assert config.teacher.name in {"resnet34.tv_in1k", "resnet50.tv_in1k"}


def test_imagenet_methods_have_temperature_1_and_the_beta_of_their_pair():
    dkd = [c for c in configs("dkd_table_imagenet") if c.method.name == "dkd"]
    betas = {c.student.name: c.method.options["beta"] for c in dkd}
    assert betas == {"resnet18": 0.5, "mobilenetv1_100": 2.0}
    assert {c.method.options["temperature"] for c in dkd} == {1.0}


def test_every_cell_of_crds_tables_can_be_launched():
    same, cross = expand("crd_table1"), expand("crd_table2")
    for plan, pairs in ((same, 7), (cross, 6)):
        students = [cell for cell in plan.cells if cell.pair]
        assert len({cell.pair for cell in students}) == pairs
        labels = {cell.spec.label for cell in students}
        assert labels >= {"scratch", "kd", "fitnet", "at", "sp", "vid", "rkd", "pkt", "crd"}
        assert len(students) == pairs * len(labels) * 3
