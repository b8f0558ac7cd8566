"""What a record says of equal bits is what was enforced, and what torch warned of."""

import os
import warnings

import pytest
import torch
from lightning_fabric import Fabric

from suite.config import RunSpec, Runtime, parse
from suite.device import determinism
from suite.interface.errors import UserError
from suite.store.record import RunDirectory
from suite.train.run import run


def spec(**train):
    config = {
        "data": {"name": "fake", "train_limit": 40},
        "student": {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}},
        "method": "scratch",
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 1, "batch_size": 20, **train},
    }
    return parse(RunSpec, {"config": config, "experiment": "e", "label": "scratch"}, "test")


def provenance(root, **options):
    wanted = spec()
    run(wanted, Runtime(runs_root=root, accelerator="cpu", tracker="none", **options))
    return RunDirectory.of(root, "e", wanted.run_id).read_result()["provenance"]


def test_on_a_cpu_a_run_is_deterministic_and_the_record_says_how(tmp_path):
    found = provenance(tmp_path)
    assert found["deterministic"] is True
    assert found["deterministic_kernels_enforced"] is True
    assert found["nondeterministic_kernels"] == "noted"
    assert found["nondeterministic_ops"] == []
    assert found["device_kinds"] == ["cpu"]
    assert found["tf32"] == {"matmul": False, "convolution": False}
    assert found["cudnn"]["deterministic"] is True
    assert found["cudnn"]["benchmark"] is False
    assert found["cublas_workspace"] == ":4096:8"


def test_a_run_without_deterministic_kernels_says_so(tmp_path):
    found = provenance(tmp_path, deterministic="off")
    assert found["deterministic"] is found["deterministic_kernels_enforced"] is False
    assert found["cudnn"]["deterministic"] is False
    assert found["nondeterministic_kernels"] == "taken"


def test_an_operation_without_a_deterministic_kernel_is_recorded_and_logged_once(
    tmp_path, monkeypatch
):
    """torch has none for put_, on a CPU either."""
    put_something(monkeypatch)
    found = provenance(tmp_path)
    assert found["deterministic"] is False
    assert found["nondeterministic_ops"] == ["put_"]
    (log,) = tmp_path.rglob("log.txt")
    assert log.read_text().count("put_ has no deterministic kernel here") == 1


def put_something(monkeypatch):
    """Make the loss call an operation without a deterministic kernel."""
    forward = torch.nn.functional.cross_entropy

    def loss(logits, label, **options):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
        return forward(logits, label, **options)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", loss)


def test_where_the_same_bits_are_required_such_an_operation_fails_the_run_in_one_line(
    tmp_path, monkeypatch
):
    put_something(monkeypatch)
    with pytest.raises(UserError) as failed:
        provenance(tmp_path, deterministic="require")
    assert str(failed.value) == (
        "--deterministic require: put_ has no deterministic kernel on this device; allowed: "
        "prefer (trains, and the record does not claim the same bits), off"
    )
    assert not list(tmp_path.rglob("result.json"))


def test_a_run_that_requires_the_same_bits_and_gets_them_has_those_of_one_that_prefers_them(
    tmp_path,
):
    found = provenance(tmp_path / "required", deterministic="require")
    assert found["deterministic"] is True
    assert found["nondeterministic_kernels"] == "refused"
    provenance(tmp_path / "preferred")
    required, preferred = (
        RunDirectory.of(tmp_path / it, "e", spec().run_id).read_result()["weights_sha256"]
        for it in ("required", "preferred")
    )
    assert required == preferred


def test_other_errors_are_told_as_they_are():
    for error in (RuntimeError("out of memory"), ValueError("put_ does not have a deterministic")):
        assert determinism.explained(error) is error


def test_the_next_run_of_a_process_starts_with_none():
    determinism.enforce("prefer", "32-true")
    for put in (True, False):
        with determinism.watch():
            if put:
                torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
            assert determinism.seen() == ["put_"] * put


@pytest.mark.parametrize(
    ("warning", "operation"),
    [
        (
            "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but",
            "adaptive_avg_pool2d_backward_cuda",
        ),
        (
            "Memory Efficient attention defaults to a non-deterministic algorithm. To explicitly",
            "Memory Efficient attention",
        ),
        (
            "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms("
            "True)` or ..., but this operation is not deterministic because it uses CuBLAS and",
            "cublas",
        ),
        ("the operation is slow", None),
    ],
)
def test_torchs_warnings_name_their_operations(warning, operation):
    assert determinism.operation_in(warning) == operation
    with determinism.watch(), warnings.catch_warnings(record=True):
        warnings.warn(warning, UserWarning, stacklevel=1)


def test_a_run_that_moved_to_another_kind_of_device_has_not_the_same_bits_again():
    determinism.enforce("prefer", "32-true")
    assert determinism.record([], ["cuda"])["deterministic"] is True
    assert determinism.record([], ["cuda", "cpu"])["deterministic"] is False


def test_float32_is_float32_unless_tf32_is_asked_for_and_lightning_can_read_it():
    for precision, rounded in (("tf32", True), ("bf16-mixed", False), ("32-true", False)):
        determinism.enforce("prefer", precision)
        assert torch.backends.cuda.matmul.allow_tf32 is rounded
        assert torch.backends.cudnn.allow_tf32 is rounded
        assert torch.get_float32_matmul_precision() == ("high" if rounded else "highest")
        Fabric(accelerator="cpu", devices=1)


def test_tf32_needs_a_gpu(tmp_path):
    with pytest.raises(Exception, match=r"train\.precision 'tf32' needs a GPU; on a CPU: 32-true"):
        run(spec(precision="tf32"), Runtime(runs_root=tmp_path, accelerator="cpu", tracker="none"))


def test_a_setting_of_cublas_that_is_there_stays(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    determinism.enforce("prefer", "32-true")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
