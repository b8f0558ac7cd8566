"""Networks by timm name, with errors that say what to do."""

import pytest
import torch

from suite.config import ModelConfig, TeacherConfig
from suite.interface.errors import UserError
from suite.models import (
    BareTask,
    count_macs,
    count_parameters,
    create,
    describe,
    names,
    weights_sha256,
)


def test_any_timm_classifier_can_be_made_for_small_grey_images():
    for name, options in [
        ("resnet18", {}),
        ("mobilenetv3_small_050", {}),
        ("vit_tiny_patch16_224", {"img_size": 32, "patch_size": 8, "depth": 2}),
        ("convnext_atto", {}),
    ]:
        network = create(ModelConfig(name=name, options=options), BareTask(7, (1, 32, 32)))
        assert network(torch.zeros(2, 1, 32, 32)).logits.shape == (2, 7)


def test_an_unknown_model_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"unknown model 'resnet81' \(did you mean resnet.*models"):
        create(ModelConfig(name="resnet81"), BareTask(10, (3, 32, 32)))


def test_a_wrong_option_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"model 'resnet18' with options .*wings") as error:
        create(ModelConfig(name="resnet18", options={"wings": 2}), BareTask(10, (3, 32, 32)))
    assert "\n" not in str(error.value)


def test_a_network_of_fixed_input_size_says_how_to_change_it():
    with pytest.raises(UserError, match=r"does not take images of 3x32x32.*img_size"):
        create(ModelConfig(name="vit_tiny_patch16_224"), BareTask(10, (3, 32, 32)))


def test_a_teacher_needs_exactly_one_source_of_weights():
    with pytest.raises(ValueError, match="exactly one of run_id, checkpoint, pretrained"):
        TeacherConfig(name="resnet18")


def test_the_hash_depends_on_names_shapes_and_bytes():
    ones = {"a": torch.ones(2, 3)}
    assert weights_sha256(ones) == weights_sha256({"a": torch.ones(2, 3)})
    others = [{"b": torch.ones(2, 3)}, {"a": torch.ones(3, 2)}, {"a": torch.ones(2, 3).double()}]
    hashes = {weights_sha256(state) for state in [ones, *others]}
    assert len(hashes) == 4


def test_parameters_and_multiply_adds_of_a_linear_layer_by_hand():
    layer = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5))
    assert count_parameters(layer) == 12 * 5 + 5
    assert count_macs(layer, (3, 2, 2)) == 12 * 5


def test_the_list_of_models_shows_known_figures():
    assert "cifar_wrn_40_2" in names("cifar_*")
    name, size, parameters, macs = describe("resnet18", 1000)
    assert (name, size, parameters) == ("resnet18", "3x224x224", "11,689,512")
    assert macs == "1,814,073,344"


def test_a_pattern_without_a_match_is_refused():
    with pytest.raises(UserError, match="no model matches 'nothing_\\*'"):
        names("nothing_*")
