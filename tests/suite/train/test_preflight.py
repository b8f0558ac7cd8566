"""What cannot work is found before anything is trained, memory included."""

import re

import pytest
import torch

from suite import methods, models
from suite.config import MethodSpec, RunSpec, Runtime, parse
from suite.data import load
from suite.data.arrays import ArrayTrain
from suite.device import memory
from suite.interface.errors import UserError
from suite.interface.rng import generator
from suite.train import preflight
from suite.train.build import build_distiller, make_fabric
from suite.train.footprint import PASS_IMAGES, DryRun, Footprint
from suite.train.preflight import check

RUNTIME = Runtime(accelerator="cpu", tracker="none")
GIGANTIC = {"feature_dim": 10**10}  # 512 images x 2 banks x 10^10 numbers: 41 TB


def spec(method, **options):
    config = {
        "data": {"name": "fake"},
        "student": {"name": "cifar_resnet8"},
        "teacher": {"name": "cifar_resnet8", "run_id": "0" * 16},
        "method": {"name": method, "options": options},
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 1},
    }
    return parse(RunSpec, {"config": config, "experiment": "e", "label": method}, "test")


def test_a_pair_that_a_method_cannot_take_is_a_fault_and_the_others_are_none():
    impossible = spec("fitnet", hint="layer9")
    found = check([spec("kd"), impossible, spec("crd")], RUNTIME)
    assert list(found.faults) == [impossible]
    assert "layer9" in str(found.faults[impossible])
    assert found.notes == ()


def test_what_the_device_has_no_room_for_is_a_fault_that_names_both_sizes():
    large = spec("crd", bank_dtype="float16", feature_dim=10**6)  # 512 x 2 x (2 x 10^6 + 8) bytes
    found = check([large, spec("kd")], RUNTIME, room=10**9)
    assert list(found.faults) == [large]
    assert str(found.faults[large]) == (
        "method crd: keeps 2.0 GB for 512 training images, and the device has 1.0 GB"
    )


def test_what_a_step_or_an_evaluation_has_no_room_for_is_a_fault_that_names_batch_and_sizes():
    kd = spec("kd")
    needs = check([kd], RUNTIME).footprints[kd]
    most = needs.peak() + preflight.LIBRARIES_BYTES
    assert check([kd], RUNTIME, room=most).faults == {}
    fault = check([kd], RUNTIME, room=most - 1).faults[kd]
    assert re.fullmatch(
        r"method kd with train\.batch_size 64: needs 0\.5 GB at its peak \(10\.\d MB for a step, "
        r"17\.\d MB for an evaluation\), and the device has 0\.5 GB",
        str(fault),
    )


def test_a_run_that_cannot_be_tried_in_small_is_not_refused(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no kernel")

    kd = spec("kd")
    monkeypatch.setattr(DryRun, "step", fail)
    found = check([kd], RUNTIME, room=1)
    assert (found.faults, found.footprints) == ({}, {})
    assert found.notes == ("what kd needs is not known: RuntimeError: no kernel",)


def test_one_thread_looks_and_all_are_there_again_afterwards(monkeypatch):
    seen, look = [], preflight._look_at
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def looked(*what):
        seen.append(torch.get_num_threads())
        return look(*what)

    monkeypatch.setattr(preflight, "_look_at", looked)
    try:
        check([spec("kd")], RUNTIME)
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_large_memory_is_noted_also_in_a_combination():
    notes = check([spec("crd+kd", crd=GIGANTIC)], RUNTIME).notes
    assert notes == ("crd+kd keeps 40960.0 GB on the device for 512 training images",)


def test_a_device_that_is_not_known_is_not_judged_by_this_machine():
    assert check([spec("crd", **GIGANTIC)], RUNTIME).faults == {}


def test_what_is_built_all_the_same_is_refused_before_memory_is_asked_for():
    config = spec("crd", **GIGANTIC).config
    data = load(config.data, RUNTIME.data_root)
    network = models.create(config.student, data)
    fabric = make_fabric(config, RUNTIME)
    with pytest.raises(UserError, match=r"crd: keeps 40960\.0 GB for 512 .* has \d+\.\d GB"):
        build_distiller(config, data, network, network, fabric, generator(0, "method"))


def test_the_papers_banks_on_imagenet_are_1_3_gb():
    """1,281,167 images x 2 x (128 x 4 + 8) bytes."""
    assert memory.kept(MethodSpec(name="crd"), 1_281_167) == 1_332_413_680


def fault_of(changed):
    found = check([changed], RUNTIME).faults
    return str(found[changed]) if found else None


def changed(**sections):
    base = spec("kd").model_dump(mode="json")
    for section, values in sections.items():
        base["config"][section] |= values
    return parse(RunSpec, base, "test")


def test_a_batch_or_a_choice_of_images_that_the_data_cannot_fill_is_a_fault():
    too_large = changed(train={"batch_size": 100_000})
    assert fault_of(too_large) == "train.batch_size 100000: the training set has 512 images"
    assert fault_of(changed(train={"batch_size": 512})) is None
    too_few = changed(data={"train_limit": 5}, train={"batch_size": 2})
    assert fault_of(too_few) == "data.train_limit 5: fewer images than classes (10)"


def test_a_teachers_file_is_read_before_anything_is_trained(tmp_path):
    path = tmp_path / "weights.pth"
    teacher = {"run_id": None, "checkpoint": str(path)}
    missing = changed(teacher=teacher)
    assert fault_of(missing) == f"cannot read weights {path}: No such file or directory"
    network = models.create(missing.config.student, models.BareTask(7, (3, 16, 16)))
    torch.save(network.model.state_dict(), path)
    assert "is for 7 classes, the data have 10" in fault_of(missing)
    network = models.create(missing.config.student, models.BareTask(10, (3, 16, 16)))
    torch.save(network.model.state_dict(), path)
    assert fault_of(missing) is None


def test_a_method_that_cannot_be_built_for_another_reason_is_a_fault_in_one_line(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("not\nenough memory")

    monkeypatch.setattr("suite.train.build.build_distiller", fail)
    broken = spec("kd")
    found = check([broken], RUNTIME).faults[broken]
    assert str(found) == "method kd cannot be built: RuntimeError: not enough memory"
    assert isinstance(found.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [("dskd", "hash_bits", 10**9), ("lshfm", "hash_bits", 10**9), ("crd", "negatives", 10**9)],
)
def test_sizes_far_beyond_use_are_refused_by_the_methods(method, option, value):
    with pytest.raises(UserError, match=f"{option}: Input should be less than or equal to"):
        spec(method, **{option: value})


def test_no_method_makes_the_teacher_look_at_more_than_a_few_images(monkeypatch):
    """LSHFM centres its hashes on the whole training set, which is for the job that trains."""
    nothing = Footprint(0, 0, 0, 0, 0, 0)
    monkeypatch.setattr(preflight, "footprint", lambda *_, **__: nothing)  # has batches of its own
    images, epoch = [], ArrayTrain.epoch

    def counted(self, *arguments, **options):
        for batch in epoch(self, *arguments, **options):
            images.append(len(batch))
            yield batch

    monkeypatch.setattr(ArrayTrain, "epoch", counted)
    for name in sorted(set(methods.names()) - {"scratch"}):
        images.clear()
        check([spec(name)], RUNTIME)
        assert images in ([], [PASS_IMAGES]), name
    images.clear()
    check([spec("lshfm")], RUNTIME)
    assert images == [8]
