"""timm's pretrained weights: what they are for, where they lie, what a lost network does."""

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from suite import models
from suite.config import ModelConfig, TeacherConfig
from suite.interface.errors import UserError
from suite.models.pretrained import has_classifier

NAME = "resnet18.tv_in1k"
TEACHER = TeacherConfig(name=NAME, pretrained=True)
SHAPE = (3, 64, 64)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a server that is not there."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("suite.models.pretrained.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{filename}"
    )
    return tmp_path


def test_weights_for_other_classes_are_refused_instead_of_getting_a_random_head(cache):
    with pytest.raises(UserError) as caught:
        models.load_teacher(TEACHER, models.BareTask(10, SHAPE), cache)
    assert f"model {NAME}: its pretrained weights are for 1000 classes, the data have 10" in str(
        caught.value
    )


def test_without_network_the_model_the_cache_and_the_cure_are_named_at_once(cache, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("waits to try again"))
    with pytest.raises(UserError) as caught:
        models.load_teacher(TEACHER, models.BareTask(1000, SHAPE), cache)
    line = str(caught.value)
    assert f"model {NAME}: its pretrained weights are not in {cache}, and cannot be fetched" in line
    assert "`hf download timm/resnet18.tv_in1k`" in line
    assert "checkpoint: FILE" in line
    assert "\n" not in line


def test_weights_in_the_cache_need_no_network(cache):
    torch.manual_seed(3)
    weights = timm.create_model("resnet18").state_dict()
    repository = cache / "models--timm--resnet18.tv_in1k"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(weights, snapshot / "model.safetensors")
    teacher = models.load_teacher(TEACHER, models.BareTask(1000, SHAPE), cache)
    assert torch.equal(teacher.model.state_dict()["fc.weight"], weights["fc.weight"])


def test_a_model_without_pretrained_weights_is_refused(cache):
    with pytest.raises(UserError, match="cifar_resnet8: timm has no pretrained weights of it"):
        models.load_teacher(
            TeacherConfig(name="cifar_resnet8", pretrained=True), models.BareTask(10, SHAPE), cache
        )


def test_an_unknown_tag_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"unknown weights of resnet18, tag 'tv_in2k' \(did you"):
        models.create(ModelConfig(name="resnet18.tv_in2k"), models.BareTask(10, SHAPE))


def test_the_number_of_classes_is_that_of_the_data():
    config = ModelConfig(name="resnet18", options={"num_classes": 7})
    with pytest.raises(UserError, match=r"options\.num_classes is that of the data"):
        models.create(config, models.BareTask(10, SHAPE))


def test_dinov2_has_no_classifier_and_needs_no_other_classes(cache):
    name = "vit_small_patch14_dinov2.lvd142m"
    assert not has_classifier(name)
    assert has_classifier(NAME)
    teacher = TeacherConfig(name=name, pretrained=True, options={"num_classes": 0})
    with pytest.raises(UserError, match="are not in"):  # classes are not what is missing
        models.load_teacher(teacher, models.BareTask(10, SHAPE), cache)
