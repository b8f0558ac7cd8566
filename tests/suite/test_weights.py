"""Checkpoints of other code bases, told apart by the names and shapes listed here."""

import argparse

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import suite.zoo  # noqa: F401
from suite.weights import WeightsError, load_foreign


def conv(name, outputs, inputs, kernel):
    return {f"{name}.weight": (outputs, inputs, kernel, kernel)}


def norm(name, width):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (width,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


def linear(name, inputs, outputs=100):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def resnet8():
    names = conv("conv1", 16, 3, 3) | norm("bn1", 16)
    for layer, (inputs, width) in enumerate([(16, 16), (16, 32), (32, 64)], start=1):
        block = f"layer{layer}.0"
        names |= conv(f"{block}.conv1", width, inputs, 3) | norm(f"{block}.bn1", width)
        names |= conv(f"{block}.conv2", width, width, 3) | norm(f"{block}.bn2", width)
        if layer > 1:
            names |= conv(f"{block}.downsample.0", width, inputs, 1)
            names |= norm(f"{block}.downsample.1", width)
    return names | linear("fc", 64)


def wrn_16_2():
    names, channels = conv("conv1", 16, 3, 3), 16
    for number, width in enumerate([32, 64, 128], start=1):
        for layer in range(2):
            block = f"block{number}.layer.{layer}"
            names |= norm(f"{block}.bn1", channels) | conv(f"{block}.conv1", width, channels, 3)
            names |= norm(f"{block}.bn2", width) | conv(f"{block}.conv2", width, width, 3)
            if layer == 0:
                names |= conv(f"{block}.convShortcut", width, channels, 1)
            channels = width
    return names | norm("bn1", 128) | linear("fc", 128)


def vgg13():
    names, channels = {}, 3
    for number, width in enumerate([64, 128, 256, 512, 512]):
        for position in (0, 3):
            layer = f"block{number}.{position}"
            names |= conv(layer, width, channels, 3) | {f"{layer}.bias": (width,)}
            names |= norm(f"block{number}.{position + 1}", width)
            channels = width
    return names | linear("classifier", 512)


def mobile_half():
    names, channels = conv("conv1.0", 16, 3, 3) | norm("conv1.1", 16), 16
    widths, counts = (8, 12, 16, 32, 48, 80, 160), (1, 2, 3, 4, 3, 3, 1)
    for group, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for block in range(count):
            prefix, inner = f"blocks.{group}.{block}.conv", channels * (1 if group == 0 else 6)
            names |= conv(f"{prefix}.0", inner, channels, 1) | norm(f"{prefix}.1", inner)
            names |= conv(f"{prefix}.3", inner, 1, 3) | norm(f"{prefix}.4", inner)
            names |= conv(f"{prefix}.6", width, inner, 1) | norm(f"{prefix}.7", width)
            channels = width
    names |= conv("conv2.0", 1280, 160, 1) | norm("conv2.1", 1280)
    return names | linear("classifier.0", 1280)


def shuffle_v1():
    names, channels = conv("conv1", 24, 3, 1) | norm("bn1", 24), 24
    for layer, (width, count) in enumerate([(240, 4), (480, 8), (960, 4)], start=1):
        for block in range(count):
            prefix, made = f"layer{layer}.{block}", width - channels if block == 0 else width
            inner, groups = made // 4, 1 if channels == 24 else 3
            names |= conv(f"{prefix}.conv1", inner, channels // groups, 1)
            names |= conv(f"{prefix}.conv2", inner, 1, 3) | norm(f"{prefix}.bn1", inner)
            names |= conv(f"{prefix}.conv3", made, inner // 3, 1) | norm(f"{prefix}.bn2", inner)
            names |= norm(f"{prefix}.bn3", made)
            channels = width
    return names | linear("linear", 960)


def shuffle_v2():
    names, channels = conv("conv1", 24, 3, 1) | norm("bn1", 24), 24
    for layer, (half, count) in enumerate([(58, 3), (116, 7), (232, 3)], start=1):
        down = f"layer{layer}.0"
        names |= conv(f"{down}.conv1", channels, 1, 3) | norm(f"{down}.bn1", channels)
        names |= conv(f"{down}.conv2", half, channels, 1) | norm(f"{down}.bn2", half)
        names |= conv(f"{down}.conv3", half, channels, 1) | norm(f"{down}.bn3", half)
        names |= conv(f"{down}.conv4", half, 1, 3) | norm(f"{down}.bn4", half)
        names |= conv(f"{down}.conv5", half, half, 1) | norm(f"{down}.bn5", half)
        for block in range(1, count + 1):
            prefix = f"layer{layer}.{block}"
            names |= conv(f"{prefix}.conv1", half, half, 1) | norm(f"{prefix}.bn1", half)
            names |= conv(f"{prefix}.conv2", half, 1, 3) | norm(f"{prefix}.bn2", half)
            names |= conv(f"{prefix}.conv3", half, half, 1) | norm(f"{prefix}.bn3", half)
        channels = 2 * half
    return names | conv("conv2", 1024, 464, 1) | norm("bn2", 1024) | linear("linear", 1024)


def resnet50():
    names, channels = conv("conv1", 64, 3, 3) | norm("bn1", 64), 64
    for layer, (width, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(count):
            prefix, wide = f"layer{layer}.{block}", 4 * width
            names |= conv(f"{prefix}.conv1", width, channels, 1) | norm(f"{prefix}.bn1", width)
            names |= conv(f"{prefix}.conv2", width, width, 3) | norm(f"{prefix}.bn2", width)
            names |= conv(f"{prefix}.conv3", wide, width, 1) | norm(f"{prefix}.bn3", wide)
            if block == 0:
                names |= conv(f"{prefix}.shortcut.0", wide, channels, 1)
                names |= norm(f"{prefix}.shortcut.1", wide)
            channels = wide
    return names | linear("linear", 2048)


# our name: names and shapes in the reference, and where some of its tensors must arrive
FAMILIES = {
    "cifar_resnet8": (
        resnet8,
        {
            "conv1.weight": "stem.0.weight",
            "bn1.bias": "stem.1.bias",
            "layer2.0.downsample.0.weight": "layer2.0.downsample.0.weight",
            "fc.weight": "fc.weight",
        },
    ),
    "cifar_wrn_16_2": (
        wrn_16_2,
        {
            "conv1.weight": "conv1.weight",
            "block2.layer.1.bn1.weight": "block2.1.bn1.weight",
            "block3.layer.0.convShortcut.weight": "block3.0.shortcut.weight",
            "bn1.running_mean": "closing.0.running_mean",
        },
    ),
    "cifar_vgg13": (
        vgg13,
        {
            "block0.0.bias": "block0.layers.0.bias",
            "block4.3.weight": "block4.layers.3.weight",
            "block3.4.running_var": "block3.layers.4.running_var",
            "classifier.bias": "fc.bias",
        },
    ),
    "cifar_mobilenet_v2": (
        mobile_half,
        {
            "conv1.0.weight": "stem.0.weight",
            "blocks.1.1.conv.3.weight": "stage1.1.1.conv.3.weight",
            "blocks.4.2.conv.7.bias": "stage3.1.2.conv.7.bias",
            "conv2.1.weight": "closing.1.weight",
            "classifier.0.weight": "fc.weight",
        },
    ),
    "cifar_shufflenet_v1": (
        shuffle_v1,
        {
            "conv1.weight": "stem.0.weight",
            "layer2.7.bn3.weight": "layer2.7.bn3.weight",
            "linear.weight": "fc.weight",
        },
    ),
    "cifar_shufflenet_v2": (
        shuffle_v2,
        {
            "bn1.weight": "stem.1.weight",
            "layer1.0.conv5.weight": "layer1.0.conv5.weight",
            "conv2.weight": "closing.0.weight",
            "bn2.bias": "closing.1.bias",
        },
    ),
    "cifar_resnet50": (
        resnet50,
        {
            "bn1.weight": "stem.1.weight",
            "layer3.0.shortcut.1.bias": "layer3.0.downsample.1.bias",
            "linear.bias": "fc.bias",
        },
    ),
}


def random_state(shapes):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) if shape else torch.tensor(7)
        for name, shape in shapes.items()
    }


@pytest.fixture
def state():
    return random_state(resnet8())


@pytest.fixture
def network():
    return timm.create_model("cifar_resnet8")


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reference_checkpoint_of_each_family_arrives_where_it_belongs(name, tmp_path):
    listing, places = FAMILIES[name]
    given = random_state(listing())
    network = timm.create_model(name)
    load_foreign(network, save(tmp_path / "ckpt_epoch_240.pth", {"model": given}))
    own = network.state_dict()
    assert len(own) == len(given)
    for theirs, ours in places.items():
        torch.testing.assert_close(own[ours], given[theirs])
    by_value = sorted(tensor.sum().item() for tensor in given.values())
    assert sorted(tensor.sum().item() for tensor in own.values()) == by_value


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
