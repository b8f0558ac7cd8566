"""One run from config to record: resume to the bit, provenance, clear errors."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from suite.config import RunSpec, Runtime, parse
from suite.interface.errors import UserError
from suite.models import TeacherError, weights_sha256
from suite.names import TEACHERS
from suite.store.record import RunDirectory
from suite.train.evaluate import evaluate
from suite.train.features import epochs_to_keep
from suite.train.run import Interrupted, run
from suite.train.trainer import DivergedError

ROOT = Path(__file__).parents[3]
TEACHER = {"name": "cifar_resnet8", "options": {"widths": [4, 8, 8, 16]}}
STUDENT = {"name": "cifar_resnet8", "options": {"widths": [4, 4, 8, 8]}}


def runtime(root, **changes):
    return Runtime(runs_root=root, threads=1, tracker="none", **changes)


def teacher_spec(**changes):
    return _spec({"student": TEACHER, "method": "scratch", **changes}, TEACHERS, "teacher")


def student_spec(teacher, method="kd", epochs=3, **changes):
    config = {
        "student": STUDENT,
        "teacher": {**TEACHER, "run_id": teacher.run_id},
        "method": method,
        "train": {"epochs": epochs, "batch_size": 32},
        **changes,
    }
    return _spec(config, "experiment", "student")


def _spec(config, experiment, role):
    whole = {
        "data": {"name": "fake", "train_limit": 128},
        "optimizer": {"lr": 0.05},
        "train": {"epochs": 2, "batch_size": 32},
        **config,
    }
    values = {"config": whole, "experiment": experiment, "role": role, "label": "row"}
    return parse(RunSpec, values, "test")


def metrics_without_time(directory):
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in directory.read_metrics()
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run store with a teacher and one finished student by KD."""
    root = tmp_path_factory.mktemp("runs")
    teacher = teacher_spec()
    run(teacher, runtime(root))
    student = student_spec(teacher)
    run(student, runtime(root))
    return root, teacher, student


def copy_of_teacher(store, root):
    """The same teacher in another run store."""
    source = RunDirectory.of_teacher(store[0], store[1].run_id).path
    target = RunDirectory.of_teacher(root, store[1].run_id).path
    target.mkdir(parents=True)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def test_the_record_says_what_was_trained_and_on_what(store):
    root, teacher, student = store
    result = RunDirectory.of(root, "experiment", student.run_id).read_result()
    assert result["method"] == "kd"
    assert result["teacher"]["run_id"] == teacher.run_id
    teacher_result = RunDirectory.of_teacher(root, teacher.run_id).read_result()
    assert result["teacher"]["weights_sha256"] == teacher_result["weights_sha256"]
    assert result["teacher"]["test/top1_percent"] == teacher_result["last"]["test/top1_percent"]
    assert result["last"]["epoch"] == 3
    assert result["provenance"]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert result["parameters"]["deploy"] == result["parameters"]["student"]
    assert result["parameters"]["train_extra"] == 0
    trained = [group["parameters"] for group in result["optimizer_groups"]]
    assert trained == [{"student.model": result["parameters"]["student"]}]


def test_the_saved_weights_are_those_of_the_record(store):
    root, _, student = store
    directory = RunDirectory.of(root, "experiment", student.run_id)
    assert weights_sha256(load_file(directory.weights)) == directory.read_result()["weights_sha256"]
    assert not directory.checkpoint.exists()


def test_features_of_training_and_held_out_images_are_kept(store):
    root, _, student = store
    with np.load(RunDirectory.of(root, "experiment", student.run_id).features) as features:
        assert features["train/student_pooled"].shape == (128, 8)
        assert features["train/teacher_pooled"].shape == (128, 16)
        assert len(features["heldout/label"]) == len(features["heldout/student_logits"])
        assert str(features["heldout_split"]) == "val"


def test_features_are_kept_after_some_epochs_which_changes_no_bit(store, tmp_path):
    spec = student_spec(store[1], "dskd", epochs=3)
    found = {}
    for folder, kept in (("without", 0), ("with", 6)):
        copy_of_teacher(store, tmp_path / folder)
        run(spec, runtime(tmp_path / folder, feature_epochs=kept))
        found[folder] = RunDirectory.of(tmp_path / folder, "experiment", spec.run_id)
    names = {path.name for path in found["with"].path.glob("features-*.npz")}
    assert names == {"features-0001.npz", "features-0002.npz"}
    assert not list(found["without"].path.glob("features-*.npz"))
    assert found["with"].weights.read_bytes() == found["without"].weights.read_bytes()
    assert found["with"].features.read_bytes() == found["without"].features.read_bytes()
    with np.load(found["with"].features_after(1)) as first, np.load(found["with"].features) as last:
        assert str(first["run_id"]) == str(last["run_id"]) == spec.run_id
        assert "train/teacher_pooled" not in first
        assert first["heldout/inspect/denoised"].shape == last["heldout/inspect/denoised"].shape
        moved = first["heldout/student_pooled"] - last["heldout/student_pooled"]
        assert np.abs(moved).max() > 0
        assert last["heldout/inspect/trajectory"].shape[1:] == (6, 8)  # 5 steps, 8 channels
        assert "train/inspect/trajectory" not in last


def test_features_of_all_stages_are_kept_when_asked_for_which_changes_no_bit(store, tmp_path):
    spec = student_spec(store[1], "kd", epochs=2)
    records = {}
    for folder, stages in (("without", False), ("with", True)):
        copy_of_teacher(store, tmp_path / folder)
        run(spec, runtime(tmp_path / folder, stage_features=stages))
        records[folder] = RunDirectory.of(tmp_path / folder, "experiment", spec.run_id)
    assert records["with"].weights.read_bytes() == records["without"].weights.read_bytes()
    with np.load(records["with"].features) as kept, np.load(records["without"].features) as plain:
        added = sorted(set(kept.files) - set(plain.files))
        assert {name.partition("_stage")[0] for name in added} == {
            "heldout/student",
            "heldout/teacher",
        }
        assert all(len(kept[name]) == len(kept["heldout/label"]) for name in added)


@pytest.mark.parametrize(
    ("epochs", "count", "kept"),
    [
        (60, 6, {1, 10, 20, 30, 40, 50}),
        (240, 4, {1, 60, 120, 180}),
        (3, 6, {1, 2}),
        (1, 6, set()),
        (60, 1, {1}),
        (60, 0, set()),
    ],
)
def test_the_epochs_whose_features_are_kept(epochs, count, kept):
    assert epochs_to_keep(epochs, count) == kept


def test_a_finished_run_is_left_alone(store):
    root, _, student = store
    result = RunDirectory.of(root, "experiment", student.run_id).result
    before = result.stat().st_mtime_ns
    run(student, runtime(root))
    assert result.stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["kd", "crd", "dskd"])
def test_a_run_stopped_every_few_steps_ends_with_the_same_bits(store, tmp_path, method):
    teacher = store[1]
    spec = student_spec(teacher, method, epochs=2)
    copy_of_teacher(store, tmp_path / "a")
    copy_of_teacher(store, tmp_path / "b")
    run(spec, runtime(tmp_path / "a"))
    stops = 0
    while True:
        calls = count()
        try:
            run(spec, runtime(tmp_path / "b"), lambda calls=calls: next(calls) >= 4)
        except Interrupted:
            stops += 1
        else:
            break
    unbroken, broken = (
        RunDirectory.of(tmp_path / side, "experiment", spec.run_id) for side in "ab"
    )
    assert stops >= 2
    assert broken.read_result()["weights_sha256"] == unbroken.read_result()["weights_sha256"]
    assert metrics_without_time(broken) == metrics_without_time(unbroken)


def test_a_run_killed_in_the_middle_ends_with_the_same_bits(store, tmp_path):
    teacher = store[1]
    spec = student_spec(teacher, "dkd", epochs=40)
    copy_of_teacher(store, tmp_path / "a")
    copy_of_teacher(store, tmp_path / "b")
    run(spec, runtime(tmp_path / "a"))
    broken = RunDirectory.of(tmp_path / "b", "experiment", spec.run_id)
    child = subprocess.Popen(
        [sys.executable, __file__, spec.model_dump_json(), str(tmp_path / "b")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    while len(broken.read_metrics()) < 3 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not broken.finished()
    run(spec, runtime(tmp_path / "b"))
    unbroken = RunDirectory.of(tmp_path / "a", "experiment", spec.run_id)
    assert broken.read_result()["weights_sha256"] == unbroken.read_result()["weights_sha256"]
    assert metrics_without_time(broken) == metrics_without_time(unbroken)


def stopped_and_unbroken(store, tmp_path, steps):
    """A run stopped after so many steps, with a checkpoint after each, and the same unbroken."""
    spec = student_spec(store[1], epochs=3)
    for side in "ab":
        copy_of_teacher(store, tmp_path / side)
    run(spec, runtime(tmp_path / "a"))
    calls = count(1)
    with pytest.raises(Interrupted):  # asked twice a step: save? and after it, stop?
        run(
            spec,
            runtime(tmp_path / "b", checkpoint_seconds=0),
            lambda: next(calls) >= 2 * steps,
        )
    unbroken, broken = (
        RunDirectory.of(tmp_path / side, "experiment", spec.run_id) for side in "ab"
    )
    return spec, broken, unbroken


@pytest.mark.parametrize("damage", ["checkpoint", "metrics", "both"])
def test_damaged_files_cost_the_time_since_the_ones_before(store, tmp_path, damage):
    """128 images, 32 a batch: epoch 1 ends with step 4; its row is there from then on."""
    spec, broken, unbroken = stopped_and_unbroken(store, tmp_path, steps=5)
    assert len(broken.read_metrics()) == 1
    if damage in ("checkpoint", "both"):
        content = broken.checkpoint.read_bytes()
        broken.checkpoint.write_bytes(content[: len(content) // 2])
    if damage in ("metrics", "both"):
        broken.metrics.write_bytes(broken.metrics.read_bytes()[:-20])
        assert broken.read_metrics() == []
    run(spec, runtime(tmp_path / "b"))
    assert broken.read_result()["weights_sha256"] == unbroken.read_result()["weights_sha256"]
    assert metrics_without_time(broken) == metrics_without_time(unbroken)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small tmpfs")
@pytest.mark.parametrize("free", [0, 100, 3000])
def test_a_full_disk_is_one_clear_message_and_the_run_goes_on_when_there_is_room(
    store, tmp_path, free
):
    spec = student_spec(store[1], epochs=30)
    copy_of_teacher(store, tmp_path / "a")
    run(spec, runtime(tmp_path / "a"))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]).returncode != 0:
        pytest.skip("may not mount a tmpfs here")
    try:
        copy_of_teacher(store, disk)
        unbroken, broken = (
            RunDirectory.of(root, "experiment", spec.run_id) for root in (tmp_path / "a", disk)
        )

        def fill_after_5_epochs():
            if len(broken.read_metrics()) >= 5 and not (disk / "ballast").exists():
                fill(disk, free)
            return False

        with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
            run(spec, runtime(disk, checkpoint_seconds=0), fill_after_5_epochs)
        (disk / "ballast").unlink()
        run(spec, runtime(disk, checkpoint_seconds=0))
        assert broken.read_result()["weights_sha256"] == unbroken.read_result()["weights_sha256"]
        assert metrics_without_time(broken) == metrics_without_time(unbroken)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk, free):
    """Leave about so many bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(max(0, file.tell() - free))


def test_methods_of_one_seed_see_the_same_start(store, tmp_path):
    """One epoch with learning rate almost 0: the weights stay where they started."""
    teacher = store[1]
    copy_of_teacher(store, tmp_path)
    starts = set()
    for method in ("kd", "fitnet", "dskd"):
        spec = student_spec(teacher, method, epochs=1, optimizer={"lr": 1e-30})
        run(spec, runtime(tmp_path))
        weights = load_file(RunDirectory.of(tmp_path, "experiment", spec.run_id).weights)
        starts.add(weights_sha256({k: v for k, v in weights.items() if k.endswith("weight")}))
    assert len(starts) == 1


def test_a_diverging_run_says_so(store, tmp_path):
    copy_of_teacher(store, tmp_path)
    spec = student_spec(store[1], optimizer={"lr": 1e30})
    with pytest.raises(RuntimeError, match=r"loss is not finite in epoch \d+: .*optimizer\.lr"):
        run(spec, runtime(tmp_path))


@pytest.mark.parametrize("overflows", [1, 2])
def test_logits_that_overflow_in_evaluation_stop_a_run_only_at_its_end(
    store, tmp_path, monkeypatch, overflows
):
    copy_of_teacher(store, tmp_path)
    spec = student_spec(store[1], epochs=2)
    splits = []

    def overflowing(*arguments):
        found = evaluate(*arguments)
        splits.append(found)  # two splits an epoch
        return replace(found, figures=found.figures | {"nll": math.inf}) if late() else found

    def late():
        return (len(splits) + 1) // 2 == overflows

    monkeypatch.setattr("suite.train.trainer.evaluate", overflowing)
    if overflows == 2:
        with pytest.raises(DivergedError, match="not finite in epoch 2: val/nll, test/nll"):
            run(spec, runtime(tmp_path))
        return
    run(spec, runtime(tmp_path))
    rows = RunDirectory.of(tmp_path, "experiment", spec.run_id).read_metrics()
    assert ["val/nll" in row for row in rows] == [False, True]
    assert all("val/top1_percent" in row for row in rows)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("method", ["crd", "diffkd", "dskd"])
def test_methods_with_layers_of_their_own_train_in_half_precision(
    store, tmp_path, method, precision
):
    copy_of_teacher(store, tmp_path)
    spec = student_spec(
        store[1], method, train={"epochs": 1, "batch_size": 32, "precision": precision}
    )
    run(spec, runtime(tmp_path, accelerator="cpu"))
    assert RunDirectory.of(tmp_path, "experiment", spec.run_id).finished()


def test_an_unfinished_teacher_is_refused(tmp_path):
    with pytest.raises(TeacherError, match="not finished"):
        run(student_spec(teacher_spec()), runtime(tmp_path))


def test_a_teacher_with_other_weights_than_its_record_is_refused(store, tmp_path):
    copy_of_teacher(store, tmp_path)
    directory = RunDirectory.of_teacher(tmp_path, store[1].run_id)
    content = bytearray(directory.weights.read_bytes())
    content[-1] ^= 1
    directory.weights.write_bytes(bytes(content))
    with pytest.raises(TeacherError, match=r"sha256.*delete the run's folder"):
        run(student_spec(store[1]), runtime(tmp_path))


def test_a_teacher_of_another_shape_is_refused(store, tmp_path):
    copy_of_teacher(store, tmp_path)
    wide = {"name": "cifar_resnet8", "options": {"widths": [8, 8, 8, 16]}}
    changed = student_spec(store[1]).model_dump(mode="json")
    changed["config"]["teacher"] |= wide
    spec = parse(RunSpec, changed, "test")
    with pytest.raises(TeacherError, match="do not fit"):
        run(spec, runtime(tmp_path))


def test_a_file_where_the_runs_should_be_is_one_clear_message(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(teacher_spec(), runtime(tmp_path / "runs"))


if __name__ == "__main__":
    run(
        RunSpec.model_validate_json(sys.argv[1]),
        runtime(Path(sys.argv[2]), checkpoint_seconds=0.0),
    )


def test_a_run_ends_with_the_same_bits_whatever_threads_its_process_had(tmp_path):
    wide = {"name": "cifar_resnet8", "options": {"widths": [16, 16, 32, 64]}}
    spec = teacher_spec(student=wide, data={"name": "fake"}, train={"epochs": 2, "batch_size": 64})
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            root = tmp_path / str(threads)
            run(spec, Runtime(runs_root=root, tracker="none", accelerator="cpu"))
            results.append(RunDirectory.of_teacher(root, spec.run_id).read_result())
    finally:
        torch.set_num_threads(before)
    assert [result["provenance"]["threads"] for result in results] == [1, 1]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]


def test_a_runs_log_tells_device_epochs_and_end_whatever_the_process_prints(tmp_path):
    code = f"""
from pathlib import Path
from suite.config import RunSpec, Runtime
from suite.train.run import run
spec = RunSpec.model_validate_json({teacher_spec().model_dump_json()!r})
run(spec, Runtime(runs_root=Path({str(tmp_path)!r}), accelerator="cpu", tracker="none"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    spec = teacher_spec()
    lines = RunDirectory.of_teacher(tmp_path, spec.run_id).log.read_text().splitlines()
    assert "torch" in lines[0]
    assert "device cpu (" in lines[1]
    assert "1 threads, 1 runs side by side" in lines[1]
    assert [line.split(": ")[1][:12] for line in lines if "epoch" in line] == [
        "epoch 1 of 2",
        "epoch 2 of 2",
    ]
    assert f"run {spec.run_id}: finished" in lines[-1]
    assert "epoch" not in done.stdout + done.stderr
