"""What an experiment says of weights made elsewhere, and what its runs then are."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from suite import data, models
from suite.config import ConfigError, Normalisation
from suite.interface.errors import UserError
from suite.models.weights import WeightsError
from suite.store.record import write_json
from suite.store.states import State, directory_of, state_of
from sweeps.plan.expand import expand_content


def content(models_, pairs="big/cifar_resnet8", **more):
    return {
        "recipe": "cifar100",
        "pairs": [pairs],
        "methods": ["scratch", "kd"],
        "seeds": [0],
        "models": models_,
        **more,
    }


@pytest.fixture
def weights(tmp_path):
    """A ResNet-8 for 10 classes, as DataParallel saves it."""
    torch.manual_seed(1)
    state = timm.create_model("cifar_resnet8", num_classes=10).state_dict()
    torch.save({f"module.{name}": it for name, it in state.items()}, tmp_path / "ten.pth")
    return tmp_path / "ten.pth"


def tuned(path, **more):
    return {"name": "cifar_resnet8", "checkpoint": str(path), "fine_tune": True, **more}


def test_a_fine_tuned_teacher_is_a_run_that_starts_from_the_weights(weights):
    cells = expand_content(content({"big": tuned(weights, train={"epochs": 3})}), "mine")
    teacher, _, kd = (cell.spec for cell in cells)
    assert (teacher.role, teacher.config.train.epochs) == ("teacher", 3)
    assert kd.config.teacher.run_id == teacher.run_id
    task = models.BareTask(100, (3, 32, 32))
    network = models.create(teacher.config.student, task).model.state_dict()
    given = torch.load(weights)
    assert torch.equal(network["layer1.0.conv1.weight"], given["module.layer1.0.conv1.weight"])
    assert network["fc.weight"].shape == (100, 64)  # a new classifier


def test_the_id_says_what_the_weights_are_and_not_where(weights, tmp_path):
    def first_id(path):
        return expand_content(content({"big": tuned(path)}), "mine")[0].spec.run_id

    before = first_id(weights)
    plain = {name.removeprefix("module."): it for name, it in torch.load(weights).items()}
    save_file(plain, tmp_path / "moved.safetensors")
    assert first_id(tmp_path / "moved.safetensors") == before
    plain["fc.bias"][0] += 1
    save_file(plain, tmp_path / "other.safetensors")
    assert first_id(tmp_path / "other.safetensors") != before


def test_weights_that_changed_since_the_plan_are_refused(weights):
    spec = expand_content(content({"big": tuned(weights)}), "mine")[0].spec
    torch.save({k: v + 1 for k, v in torch.load(weights).items()}, weights)
    with pytest.raises(WeightsError, match=r"ten.pth: the weights have sha256 .*planned with"):
        models.create(spec.config.student, models.BareTask(100, (3, 32, 32)))


def test_a_student_starts_from_a_file_when_it_is_fine_tuned(weights):
    plan = content({"small": tuned(weights)}, pairs="cifar_resnet14/small")
    kd = [cell.spec for cell in expand_content(plan, "mine") if cell.spec.label == "kd"]
    assert kd[0].config.student.initial.checkpoint == weights


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"fine_tune": True}, "fine_tune: needs pretrained: true or checkpoint: FILE"),
        ({"teacher": "big"}, "models.big: teaches itself"),
        ({"teacher": "resnet999"}, "unknown model 'resnet999'"),
        ({"teacher": "cifar_resnet14", "method": "scratch"}, "scratch: takes no teacher"),
        ({"teacher": "cifar_resnet14", "checkpoint": "a.pth"}, "is not taught, unless it has"),
        ({"pretrained": True, "checkpoint": "a.pth"}, "pretrained, checkpoint: give one of them"),
        ({"checkpoint": "no.pth", "fine_tune": True}, "cannot read weights no.pth: No such file"),
        ({"normalisation": {"mean": [0.5], "std": [0.5, 1]}}, "one number a channel in both"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(entry, message):
    with pytest.raises(ConfigError, match=message):
        expand_content(content({"big": {"name": "cifar_resnet20", **entry}}), "mine")


ASSISTANTS = {
    "giant": {"name": "cifar_resnet56"},
    "big": {"name": "cifar_resnet32", "teacher": "giant"},
    "middle": {
        "name": "cifar_resnet20",
        "teacher": "big",
        "method": {"name": "dkd", "options": {"beta": 2}},
    },
}


def chain(**more):
    plan = content(ASSISTANTS, pairs="middle/cifar_resnet8", **more)
    return [cell.spec for cell in expand_content(plan, "mine")]


def test_a_teacher_is_taught_by_another_and_comes_after_it():
    specs = chain(teacher_seeds=[0, 4])
    teachers = {(spec.label, spec.config.seed): spec for spec in specs if spec.role == "teacher"}
    names = [spec.label for spec in specs if spec.role == "teacher"]
    assert names == ["giant", "giant", "big", "big", "middle", "middle"]
    middle, big, giant = (teachers[name, 4] for name in ("middle", "big", "giant"))
    assert (middle.config.method.name, middle.config.method.options["beta"]) == ("dkd", 2)
    assert big.config.method.name == "kd"
    assert big.config.teacher.run_id == giant.run_id
    assert middle.config.teacher.run_id == big.run_id
    assert middle.ancestors == (giant.run_id,)
    kd = [spec for spec in specs if spec.label == "kd" and spec.teacher_seed == 4]
    assert kd[0].ancestors == (big.run_id, giant.run_id)


def test_when_the_first_of_a_chain_fails_nobody_waits_for_the_others(tmp_path):
    runs = [spec for spec in chain() if spec.label != "scratch"]  # giant, big, middle, kd
    states = [state_of(spec, tmp_path, 0) for spec in runs]
    assert states == [State.READY, State.WAITING, State.WAITING, State.WAITING]
    first = directory_of(runs[0], tmp_path)
    first.start({})
    first.write_failure(UserError("no"))
    states = [state_of(spec, tmp_path, 0) for spec in runs]
    assert states == [State.FAILED, State.BLOCKED, State.BLOCKED, State.BLOCKED]


def test_weights_from_elsewhere_bring_their_normalisation_where_it_differs():
    def teacher(**entry):
        plan = content({"big": entry}, data={"name": "imagenet"}, recipe="imagenet")
        return expand_content(plan, "mine")[-1].spec.config

    half = teacher(name="vit_tiny_patch16_224.augreg_in21k_ft_in1k", pretrained=True)
    assert half.teacher.normalisation == Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3)
    same = teacher(name="resnet34.tv_in1k", pretrained=True)
    assert "normalisation" not in same.model_dump()["teacher"]  # its ids are what they were
    own = half.teacher.normalisation
    told = teacher(name="resnet34.tv_in1k", pretrained=True, normalisation=own)
    assert told.teacher.normalisation == half.teacher.normalisation
    left = teacher(
        name="vit_tiny_patch16_224.augreg_in21k_ft_in1k", pretrained=True, normalisation="data"
    )
    assert left.teacher.normalisation is None
    assert data.normalisation("imagenet").mean == (0.485, 0.456, 0.406)


def test_weights_that_timm_has_without_a_classifier_give_features_alone():
    eyes = {"name": "vit_small_patch14_dinov2", "pretrained": True, "options": {"img_size": 28}}
    cells = expand_content({**content({"eyes": eyes}, "eyes/cifar_resnet8")}, "mine")
    teacher = cells[-1].spec.config.teacher
    assert teacher.options == {"num_classes": 0, "img_size": 28}
    assert not teacher.gives_logits
    tuned_first = expand_content(
        content({"eyes": {"name": "cifar_resnet20"}}, "eyes/cifar_resnet8"), "mine"
    )
    assert tuned_first[-1].spec.config.teacher.gives_logits


BOTH = {"both": {"ensemble": ["cifar_resnet20", "cifar_vgg8"]}}


def test_an_ensembles_networks_are_trained_once_each_and_all_are_awaited(tmp_path):
    pairs = ["both/cifar_resnet8", "cifar_vgg8/cifar_resnet8"]
    cells = expand_content({**content(BOTH), "pairs": pairs, "teacher_seeds": [0, 1]}, "mine")
    teachers = [cell.spec for cell in cells if not cell.pair]
    assert len({spec.run_id for spec in teachers}) == len(teachers) == 4
    taught = [cell.spec for cell in cells if cell.pair == pairs[0] and cell.spec.config.teacher]
    assert [spec.teacher_seed for spec in taught] == [0, 1]
    by_id = {spec.run_id: spec for spec in teachers}
    for spec in taught:
        members = [by_id[it] for it in spec.config.teacher.run_ids]
        assert [it.label for it in members] == ["cifar_resnet20", "cifar_vgg8"]
        assert {it.config.seed for it in members} == {spec.teacher_seed}
    first, second = (directory_of(by_id[it], tmp_path) for it in taught[0].config.teacher.run_ids)
    assert state_of(taught[0], tmp_path, 0.0) is State.WAITING
    first.start({})
    write_json(first.result, {"finished": True})
    assert state_of(taught[0], tmp_path, 0.0) is State.WAITING
    second.start({})
    second.write_failure(RuntimeError("no"))
    assert state_of(taught[0], tmp_path, 0.0) is State.BLOCKED
    second.failure.unlink()
    write_json(second.result, {"finished": True})
    assert state_of(taught[0], tmp_path, 0.0) is State.READY


def test_an_assistant_is_taught_by_an_ensemble():
    networks = {**BOTH, "assistant": {"name": "cifar_resnet14", "teacher": "both"}}
    cells = expand_content(content(networks, "assistant/cifar_resnet8"), "mine")
    assistant, student = cells[-3].spec, cells[-1].spec
    assert [cell.spec.label for cell in cells[:2]] == ["cifar_resnet20", "cifar_vgg8"]
    assert assistant.config.teacher.run_ids == tuple(cell.spec.run_id for cell in cells[:2])
    assert student.ancestors == assistant.config.teacher.run_ids


@pytest.mark.parametrize(
    ("networks", "pair", "message"),
    [
        ({"b": {"ensemble": ["x"]}}, "b/x", "needs two or more networks, each once"),
        ({"b": {"ensemble": ["x", "x"]}}, "b/x", "needs two or more networks, each once"),
        ({"b": {"ensemble": ["x", "y"], "name": "z"}}, "b/x", "goes with no other field (given: n"),
        (BOTH, "cifar_vgg8/both", "pairs: both is an ensemble, which teaches and is not trained"),
        ({**BOTH, "b": {"ensemble": ["both", "resnet18"]}}, "b/resnet18", "both is itself an"),
        ({"b": {"ensemble": ["b", "resnet18"]}}, "b/resnet18", "models.b: teaches itself"),
    ],
)
def test_ensembles_that_cannot_be_are_refused(networks, pair, message):
    with pytest.raises(ConfigError) as caught:
        expand_content(content(networks, pair), "mine")
    assert message in str(caught.value)
