"""`dskd-bench doctor`: each check where there is what it looks for, and where it lacks."""

from pathlib import Path

import pytest

from suite.cli import doctor
from suite.cli.app import main
from suite.cli.doctor import Surroundings


def surroundings(folder, **others):
    return Surroundings(folder / "runs", folder / "data", **others)


def grades(check, where):
    return {finding.subject: finding.grade for finding in check(where)}


def test_every_package_that_is_asked_for_is_here_in_a_version_that_fits(tmp_path):
    found = grades(doctor.python_and_packages, surroundings(tmp_path))
    assert {"python", "torch", "timm", "wandb", "optuna", "pandas"} <= set(found)
    assert set(found.values()) == {"ok"}
    assert "psycopg" not in found  # of an extra


def test_a_package_that_is_too_old_or_missing_is_named_with_what_installs_it(monkeypatch, tmp_path):
    wanted = ["torch>=999", "no-such-package>=1", "pytest; extra == 'dev'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: wanted)
    _, old, missing = doctor.python_and_packages(surroundings(tmp_path))
    assert (old.subject, old.grade, old.cure) == ("torch", "fault", "pip install 'torch>=999'")
    assert old.text.endswith(", needed: >=999")
    assert (missing.grade, missing.text) == ("fault", "not installed")


def test_a_run_store_that_cannot_be_written_is_a_fault(tmp_path):
    assert grades(doctor.run_store, surroundings(tmp_path)) == {"run store": "ok"}
    assert list(tmp_path.iterdir()) == []  # nothing was made
    (fault,) = doctor.run_store(Surroundings(Path("/proc/runs"), tmp_path))
    assert fault.grade == "fault"
    assert fault.text.startswith("/proc/runs: cannot be written: ")


def test_a_data_set_is_ok_once_its_files_are_there(tmp_path):
    before = grades(doctor.data_sets, surroundings(tmp_path))
    assert (before["data: digits"], before["data: cifar100"]) == ("ok", "note")
    (tmp_path / "data" / "cifar-100-python").mkdir(parents=True)
    assert grades(doctor.data_sets, surroundings(tmp_path))["data: cifar100"] == "ok"


def test_a_cluster_file_with_an_unknown_key_is_a_fault(tmp_path):
    file = tmp_path / "cluster.yaml"
    file.write_text("gpu: 1\n")
    assert grades(doctor.slurm, surroundings(tmp_path, cluster=file))["cluster file"] == "fault"
    file.write_text("gpus: 1\n")
    assert grades(doctor.slurm, surroundings(tmp_path, cluster=file))["cluster file"] == "ok"


def test_a_mode_of_wandb_that_does_not_exist_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert grades(doctor.tracker, surroundings(tmp_path)) == {"W&B": "fault"}
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert grades(doctor.tracker, surroundings(tmp_path)) == {"W&B": "ok"}


def test_a_check_that_raises_is_a_finding_and_the_others_go_on(tmp_path, monkeypatch):
    def broken(_):
        raise KeyError("x")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken, doctor.run_store))
    first, second = doctor.examine(surroundings(tmp_path))
    assert (first.subject, first.grade, first.text) == ("broken", "fault", "KeyError: 'x'")
    assert second.grade == "ok"


def test_the_command_lists_all_and_ends_with_status_2_when_something_must_be_mended(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(doctor, "CHECKS", (doctor.run_store, doctor.tracker))
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--runs-root", str(tmp_path)])
    assert not end.value.code
    assert "nothing to mend" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--runs-root", "/proc/runs"])
    assert end.value.code == 2
    out = capsys.readouterr().out
    assert "cannot be written" in out
    assert "-> another place: --runs-root or DSKD_RUNS_ROOT" in out
