"""The command, with real training in worker processes: killed in the middle, started again."""

import json
import os
import signal
import time

import command_line
import optuna
import pytest
import simulated
import yaml
from command_line import finish

SETTINGS = "data.name=fake train_limit=64 epochs=4 eval_every=2 teacher.train.epochs=1"
TRIALS = 5


def start(path, root, *arguments):
    return command_line.start(
        *("search", path, "--set", SETTINGS),
        *(f"--runs-root={root / 'runs'}", f"--tuned={root / 'tuned'}", "--tracker=none"),
        *("--accelerator=cpu", "--threads=1", "--jobs=2", *arguments),
    )


def test_a_method_that_the_device_has_no_room_for_is_refused_before_anything_starts(tmp_path):
    space = {"crd_weight": "tunable"}
    path = simulated.write_search(tmp_path, methods={"crd": {"space": space}}, train={})
    status, out = finish(start(path, tmp_path, "--set", "crd.feature_dim=10000000000"))
    assert status == 2
    assert "crd: method crd: keeps 5120.0 GB for 64 training images" in " ".join(out.split())
    assert not (tmp_path / "runs").exists()


def is_told(line):
    """Whether a journal line ends a trial, as complete or as pruned."""
    return '"op_code":6' in line and ('"state":1' in line or '"state":2' in line)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search that was killed with all its workers after two trials, and run again."""
    root = tmp_path_factory.mktemp("search")
    path = simulated.write_search(root, budget={"trials": TRIALS}, train={})
    process = start(path, root, "--executor=local")
    journal = root / "runs" / "quick" / "study.journal"
    while process.poll() is None:
        lines = journal.read_text().splitlines() if journal.exists() else []
        if sum(map(is_told, lines)) >= 2:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    status, out = finish(start(path, root, "--executor=local"))
    assert status == 0, out
    return path, root, out


def test_what_was_told_before_the_kill_is_kept(searched):
    _, root, out = searched
    assert "2 trials before" in out or "3 trials before" in out
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(root / "runs" / "quick" / "study.journal"))
    )
    (summary,) = optuna.get_all_study_summaries(storage)
    study = optuna.load_study(study_name=summary.study_name, storage=storage)
    assert [trial.number for trial in study.trials] == list(range(TRIALS))
    assert all(trial.state.is_finished() for trial in study.trials)
    assert simulated.told_once(root / "runs", "quick") == 1


def test_trials_keep_features_of_their_end_alone(searched):
    _, root, _ = searched
    kept = {path.name for path in root.rglob("features*.npz")}
    assert kept == {"features.npz"}


def test_no_run_of_it_has_a_figure_on_test_images(searched):
    _, root, _ = searched
    files = [*root.rglob("metrics.jsonl"), *root.rglob("result.json")]
    assert len(list((root / "runs" / "teachers").rglob("result.json"))) == 1
    assert files
    assert not any("test/" in file.read_text() for file in files)
    assert any("val/top1_percent" in file.read_text() for file in files)


def test_it_leaves_settings_record_and_report(searched):
    _, root, out = searched
    settings = yaml.safe_load((root / "tuned" / "quick" / "kd.yaml").read_text())
    assert sum(settings["chosen"]["trials"].values()) == TRIALS
    record = json.loads((root / "runs" / "quick" / "search.json").read_text())
    assert len(record["studies"][0]["trials"]) == TRIALS
    figures = {it.stem for it in (root / "runs" / "quick" / "report" / "figures").glob("*.pdf")}
    assert {"kd-history", "kd-slice", "kd-parallel"} <= figures
    assert "Best trials of kd" in out


def test_a_further_call_goes_on_with_the_study(searched):
    path, root, _ = searched
    status, out = finish(start(path, root, "--executor=in_process", f"--trials={TRIALS + 1}"))
    assert status == 0, out
    assert f"{TRIALS} trials before" in out
    record = json.loads((root / "runs" / "quick" / "search.json").read_text())
    assert [it["number"] for it in record["studies"][0]["trials"]] == list(range(TRIALS + 1))
