"""The command line as a new user meets it: clear messages, exit statuses, nothing lost."""

import json
import re

import pytest
from command_line import in_process as run

from suite.store.lease import acquire

TINY = "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=64 epochs=1 seeds=[0]"


def sweep(capsys, root, settings, *more):
    common = ("--runs-root", root, "--executor", "in_process", "--no-report", "--tracker", "none")
    return run(capsys, "sweep", "dskd_digits", "--set", settings, *common, *more)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("methods=[kdd]", "unknown method 'kdd' (did you mean kd?); known: "),
        ("pairs=[cifar_resnet8/cifar_resnet9]", "unknown model 'cifar_resnet9'"),
        ("data.name=digit", "unknown data set 'digit' (did you mean digits?); known: "),
        ("epoch=3", "unknown key 'epoch'"),
        ("epochs=three", "train.epochs: Input should be a valid integer"),
    ],
)
def test_wrong_input_is_one_message_and_exit_status_2(capsys, tmp_path, settings, message):
    status, _, err = sweep(capsys, tmp_path, settings)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_missing_data_say_what_to_put_where_before_anything_is_trained(capsys, tmp_path):
    status, _, err = sweep(
        capsys, tmp_path, f"{TINY} data.name=imagefolder", "--data-root", tmp_path / "none"
    )
    assert status == 2
    assert str(tmp_path / "none" / "imagefolder" / "train") in err
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_a_folder_that_cannot_be_written_is_one_message(capsys, tmp_path):
    (tmp_path / "runs").write_text("in the way")
    status, _, err = sweep(capsys, tmp_path / "runs", TINY)
    assert status == 2
    assert "cannot write" in err


def test_a_sweep_trains_what_is_missing_and_a_second_call_trains_nothing(capsys, tmp_path):
    settings = f"{TINY} methods=[scratch,kd]"
    status, out, _ = sweep(capsys, tmp_path, settings)
    assert status == 0
    assert "3 of 3 runs finished" in out
    results = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert len(results) == 3
    status, out, _ = sweep(capsys, tmp_path, settings)
    assert status == 0
    assert "3 finished before" in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == results


def test_one_failing_run_leaves_the_others_alone_and_is_reported(capsys, tmp_path):
    status, out, _ = sweep(capsys, tmp_path, f"{TINY} methods=[scratch,kd] kd.kd_weight=1e30")
    assert status == 1
    assert "2 of 3 runs finished" in out
    assert "not finished: kd seed 0: failed: the loss is not finite" in out


def test_a_method_that_the_device_has_no_room_for_is_left_out_and_the_others_train(
    capsys, tmp_path
):
    status, out, _ = sweep(
        capsys, tmp_path, f"{TINY} methods=[scratch,crd] crd.feature_dim=10000000000"
    )
    out = " ".join(out.split())
    assert "memory: crd keeps 5120.0 GB on the device for 64 training images" in out
    assert "left out: crd: method crd: keeps 5120.0 GB" in out
    assert "2 of 3 runs finished" in out
    assert status == 2


def test_a_damaged_checkpoint_is_named_and_kept(capsys, tmp_path):
    sweep(capsys, tmp_path, f"{TINY} methods=[scratch]")
    (result,) = tmp_path.rglob("result.json")
    result.unlink()
    damaged = result.with_name("checkpoint.pt")
    damaged.write_bytes(b"torn")
    status, _, err = run(capsys, "train", result.with_name("config.json"), "--runs-root", tmp_path)
    assert status == 2
    assert f"checkpoint {damaged} is damaged" in err
    assert damaged.read_bytes() == b"torn"
    status, out, _ = sweep(capsys, tmp_path, f"{TINY} methods=[scratch]")
    assert status == 2
    assert "is damaged" in " ".join(out.split())


def test_a_record_can_be_trained_again_elsewhere_with_the_same_bits(capsys, tmp_path):
    sweep(capsys, tmp_path / "a", f"{TINY} methods=[scratch]")
    (result,) = (tmp_path / "a").rglob("result.json")
    config = result.with_name("config.json")
    status, _, _ = run(capsys, "train", config, "--runs-root", tmp_path / "b")
    assert status == 0
    (again,) = (tmp_path / "b").rglob("result.json")
    hashes = [json.loads(path.read_text())["weights_sha256"] for path in (result, again)]
    assert hashes[0] == hashes[1]


def test_the_lists_name_methods_models_and_data_sets(capsys):
    assert "Hinton et al." in run(capsys, "methods")[1]
    assert "52 MB for 50,000 training images" in " ".join(run(capsys, "methods", "crd")[1].split())
    assert "2,255,156" in run(capsys, "models", "cifar_wrn_40_2")[1]
    assert "cifar100" in run(capsys, "data")[1]


def test_help_names_every_command(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for command in ("train", "sweep", "report", "status", "methods", "models", "data"):
        assert command in out


def test_train_says_how_to_train_a_missing_teacher_first(capsys, tmp_path):
    sweep(capsys, tmp_path / "a", f"{TINY} methods=[kd]")
    (config,) = (tmp_path / "a" / "dskd_digits").glob("*/config.json")
    status, _, err = run(capsys, "train", config, "--runs-root", tmp_path / "b")
    assert status == 2
    assert err.count("\n") == 1
    assert "kd: its teacher cifar_resnet8 is not trained" in err
    assert "train it first: dskd-bench train " in err
    assert "dskd-bench sweep dskd_digits" in err
    assert not (tmp_path / "b" / "dskd_digits").exists()


def test_a_cluster_file_that_is_not_there_is_refused_also_where_none_is_needed(capsys, tmp_path):
    status, _, err = sweep(capsys, tmp_path, TINY, "--cluster", tmp_path / "none.yaml")
    assert status == 2
    assert f"cluster file {tmp_path}/none.yaml: No such file or directory" in err


def test_a_students_checkpoint_is_refused_instead_of_ignored(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "recipe: digits\npairs: [cifar_resnet20/cifar_resnet8]\nmethods: [kd]\nseeds: [0]\n"
        "models: {cifar_resnet8: {checkpoint: student.pth}}\n"
    )
    status, _, err = run(capsys, "sweep", path, "--runs-root", tmp_path, "--executor", "in_process")
    assert status == 2
    assert "models.cifar_resnet8: pretrained and checkpoint are for teachers" in err


def test_a_teachers_missing_file_is_told_before_anything_is_trained(capsys, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "recipe: digits\npairs: [cifar_resnet20/cifar_resnet8]\nmethods: [kd]\nseeds: [0, 1]\n"
        f"models: {{cifar_resnet20: {{checkpoint: {tmp_path}/none.pth}}}}\n"
    )
    places = (
        "--runs-root",
        tmp_path,
        "--executor",
        "in_process",
        "--tracker",
        "none",
        "--no-report",
    )
    status, out, _ = run(capsys, "sweep", path, *places)
    assert status == 2
    assert f"teacher cifar_resnet20: {tmp_path}/none.pth, not trained here" in out
    assert f"left out: kd: cannot read weights {tmp_path}/none.pth: No such file" in out
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_a_dry_run_tells_what_would_be_trained_and_writes_nothing(capsys, tmp_path):
    settings = f"{TINY} methods=[scratch,kd,crd] crd.feature_dim=10000000000"
    status, out, _ = sweep(capsys, tmp_path, settings, "--dry-run")
    assert status == 2  # crd cannot work
    assert "dskd_digits: 4 runs, 0 finished before" in out
    assert "dry run: 3 runs would be trained, 1 left out" in out
    assert "  student kd: cifar_resnet8/cifar_resnet8, 1 epochs, seeds 0\n" in out
    assert "memory: crd keeps 5120.0 GB" in out
    assert "left out: crd: " in out
    assert re.search(r"on this machine: \d+ workers?, 3 packs of at most 1 runs", out)
    assert list(tmp_path.iterdir()) == []
    settings = f"{TINY} methods=[scratch]"
    sweep(capsys, tmp_path, settings)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    status, out, _ = sweep(capsys, tmp_path, settings, "--dry-run")
    assert status == 0
    assert "0 runs would be trained" in out
    assert "1 runs would be" in sweep(capsys, tmp_path, settings, "--dry-run", "--force")[1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_force_trains_students_again_and_keeps_their_old_records(capsys, tmp_path):
    settings = f"{TINY} methods=[scratch,kd]"
    sweep(capsys, tmp_path, settings)
    old = {path.parent: path.read_bytes() for path in tmp_path.glob("*/*/result.json")}
    teacher = next(path for path in old if path.parent.name == "teachers")
    status, out, _ = sweep(capsys, tmp_path, f"{TINY} methods=[scratch,kd]", "--force")
    assert status == 0
    assert f"--force: 2 records set aside, now in {tmp_path}/dskd_digits/aside" in out
    assert "3 of 3 runs finished" in out
    for folder, content in old.items():
        if folder == teacher:
            assert (folder / "result.json").read_bytes() == content
            continue
        (aside,) = (tmp_path / "dskd_digits" / "aside").glob(f"{folder.name}-*")
        assert (aside / "result.json").read_bytes() == content
        assert (folder / "result.json").read_bytes() != content  # the time at least
        again, before = (json.loads((at / "result.json").read_text()) for at in (folder, aside))
        assert again["weights_sha256"] == before["weights_sha256"]
    with acquire(tmp_path / "dskd_digits" / aside.name[:16]):
        status, _, err = sweep(capsys, tmp_path, settings, "--force")
    assert status == 2
    assert "is being trained by process" in err
    assert len(list((tmp_path / "dskd_digits" / "aside").iterdir())) == 2
