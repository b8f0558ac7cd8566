"""Checkpoints of other code bases, told apart by the names and shapes listed here."""

import argparse
from contextlib import suppress

import numpy as np
import pytest
import timm
import torch
from reference_names import NAMES, random_state
from reference_networks import FORWARD
from safetensors.torch import save_file

import suite.models.zoo  # noqa: F401
from suite.models.weights import WeightsError, load_foreign

# our name: where some tensors of a reference checkpoint must arrive
PLACES = {
    "cifar_resnet8": {
        "conv1.weight": "stem.0.weight",
        "bn1.bias": "stem.1.bias",
        "layer2.0.downsample.0.weight": "layer2.0.downsample.0.weight",
        "fc.weight": "fc.weight",
    },
    "cifar_wrn_16_2": {
        "conv1.weight": "conv1.weight",
        "block2.layer.1.bn1.weight": "block2.1.bn1.weight",
        "block3.layer.0.convShortcut.weight": "block3.0.shortcut.weight",
        "bn1.running_mean": "closing.0.running_mean",
    },
    "cifar_vgg13": {
        "block0.0.bias": "block0.layers.0.bias",
        "block4.3.weight": "block4.layers.3.weight",
        "block3.4.running_var": "block3.layers.4.running_var",
        "classifier.bias": "fc.bias",
    },
    "cifar_mobilenet_v2": {
        "conv1.0.weight": "stem.0.weight",
        "blocks.1.1.conv.3.weight": "stage1.1.1.conv.3.weight",
        "blocks.4.2.conv.7.bias": "stage3.1.2.conv.7.bias",
        "conv2.1.weight": "closing.1.weight",
        "classifier.0.weight": "fc.weight",
    },
    "cifar_shufflenet_v1": {
        "conv1.weight": "stem.0.weight",
        "layer2.7.bn3.weight": "layer2.7.bn3.weight",
        "linear.weight": "fc.weight",
    },
    "cifar_shufflenet_v2": {
        "bn1.weight": "stem.1.weight",
        "layer1.0.conv5.weight": "layer1.0.conv5.weight",
        "conv2.weight": "closing.0.weight",
        "bn2.bias": "closing.1.bias",
    },
    "cifar_resnet50": {
        "bn1.weight": "stem.1.weight",
        "layer3.0.shortcut.1.bias": "layer3.0.downsample.1.bias",
        "linear.bias": "fc.bias",
    },
}


@pytest.fixture
def state():
    return random_state(NAMES["cifar_resnet8"]())


@pytest.fixture
def network():
    return timm.create_model("cifar_resnet8")


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", PLACES)
def test_a_reference_checkpoint_of_each_family_arrives_where_it_belongs(name, tmp_path):
    given = random_state(NAMES[name]())
    network = timm.create_model(name).eval()
    load_foreign(network, save(tmp_path / "ckpt_epoch_240.pth", {"model": given}))
    own = network.state_dict()
    for theirs, ours in PLACES[name].items():
        torch.testing.assert_close(own[ours], given[theirs])
    image = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = FORWARD[name](given, image)
        tolerance = 1e-4 * expected.std().item()
        assert tolerance > 0
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=tolerance)


def test_what_both_references_save_beside_the_weights_is_no_obstacle(state, network, tmp_path):
    rate = 0.05 * 0.1 ** np.sum(np.asarray([150, 180]) < 200)  # a numpy number, as they compute it
    content = {
        "epoch": 240,
        "model": state,
        "best_acc": torch.tensor([75.61]),
        "opt": argparse.Namespace(model="resnet8", lr_decay_epochs=[150, 180, 210]),
        "optimizer": {"state": {}, "param_groups": [{"lr": rate}]},
    }
    old = save(tmp_path / "old.pth", content, _use_new_zipfile_serialization=False)
    older = tmp_path / "older.pth"  # as numpy 1 wrote it
    older.write_bytes(old.read_bytes().replace(b"cnumpy._core.", b"cnumpy.core."))
    assert older.read_bytes() != old.read_bytes()
    for path in (save(tmp_path / "new.pth", content), old, older):
        load_foreign(network, path)
        torch.testing.assert_close(network.fc.weight, state["fc.weight"], check_dtype=False)


def test_files_without_batch_counters_set_them_to_0(state, network, tmp_path):
    without = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    load_foreign(network, save(tmp_path / "pytorch_0.4.0.pth", without))
    assert network.stem[1].num_batches_tracked == 0
    torch.testing.assert_close(network.stem[1].running_mean, state["bn1.running_mean"])


def test_the_prefix_of_data_parallel_is_taken_off(state, network, tmp_path):
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    load_foreign(network, save(tmp_path / "parallel.pth", {"state_dict": prefixed}))
    assert torch.equal(network.fc.bias, state["fc.bias"])


def test_the_student_is_taken_out_of_an_mdistiller_distiller(state, network, tmp_path):
    whole = {f"module.student.{name}": tensor for name, tensor in state.items()}
    whole |= {
        "module.teacher.conv1.weight": torch.zeros(1),
        "module.conv_reg.bn.weight": state["bn1.bias"],
    }
    load_foreign(network, save(tmp_path / "latest", {"epoch": 3, "model": whole}))
    assert torch.equal(network.fc.bias, state["fc.bias"])


def test_the_network_is_taken_out_of_a_lightning_module(state, network, tmp_path):
    whole = {f"net.backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    whole |= {"criterion.weight": torch.ones(100), "ema.conv1.weight": torch.zeros(1)}
    whole["net.backbone.fc.bias"] = state["fc.bias"]
    content = {
        "epoch": 3,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": whole,
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [],
    }
    load_foreign(network, save(tmp_path / "epoch=3.ckpt", content))
    assert torch.equal(network.fc.bias, state["fc.bias"])


def test_a_file_for_other_classes_says_so_and_what_to_do(state, network, tmp_path):
    state |= {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}
    message = refused(network, save(tmp_path / "ten.pth", state))
    assert "ten.pth is for 10 classes, the data have 100; `fine_tune: true` gives it" in message


@pytest.mark.parametrize("name", ["cifar_wrn_16_2", "resnet18"])
def test_our_own_and_timms_names_load_as_they_are(name, tmp_path):
    source, target = timm.create_model(name), timm.create_model(name)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    for path in (tmp_path / "weights.safetensors", save(tmp_path / "w.pt", source.state_dict())):
        target.get_classifier().reset_parameters()
        load_foreign(target, path)
        for one, other in zip(
            source.state_dict().values(), target.state_dict().values(), strict=True
        ):
            assert torch.equal(one, other)


def refused(network, path):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        load_foreign(network, path)
    assert "\n" not in str(error.value)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    return str(error.value)


def test_a_file_that_does_not_fit_names_the_first_of_each_fault(state, network, tmp_path):
    del state["bn1.bias"], state["fc.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(10, 64)
    message = refused(network, save(tmp_path / "odd.pth", state))
    assert "does not fit CifarResNet: 2 missing (first: fc.bias)" in message
    assert "1 unexpected (first: extra.weight)" in message
    assert "1 of another shape (first: fc.weight (10, 64) instead of (100, 64))" in message


def test_a_checkpoint_of_another_depth_is_refused(network, tmp_path):
    deeper = timm.create_model("cifar_resnet14").state_dict()
    message = refused(network, save(tmp_path / "resnet14.pth", deeper))
    # three further blocks of 2 convolutions and 2 batch normalisations of 5 tensors each
    assert "36 unexpected (first: layer1.1.bn1.bias)" in message


class Code:
    """Unpickling this would run a command."""

    def __reduce__(self):
        return print, ("unpickled",)


def test_a_file_with_code_in_it_is_refused_and_the_code_is_not_run(
    state, network, tmp_path, capsys
):
    path = save(tmp_path / "code.pth", {"model": state, "hook": Code()})
    assert "it holds code (print); allowed: tensors" in refused(network, path)
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_and_missing_files_are_refused_in_one_line(name, network, tmp_path):
    path = tmp_path / name
    assert "cannot read weights" in refused(network, path)
    for content in (b"", b"abc", b"PK\x03\x04junk", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        assert f"cannot read weights {path}: " in refused(network, path)


def test_a_torn_file_is_refused(state, network, tmp_path):
    path = save(tmp_path / "torn.pth", state)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cannot read weights" in refused(network, path)


def test_a_file_without_a_state_dict_is_refused(network, tmp_path):
    path = save(tmp_path / "list.pth", {"model": [1, 2]})
    assert refused(network, path) == f"{path} holds no state_dict"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_damaged_file_of_the_old_format_names_the_file_and_says_damaged(state, network, tmp_path):
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, 2000, size=20):
            content[place] = random.integers(256)
        path.write_bytes(content)
        with suppress(WeightsError):  # anything else that PyTorch raises fails this test
            load_foreign(network, path)
    path.write_bytes(b"e" * 40)
    assert f"{path}: no file of weights, or damaged" in refused(network, path)
