"""A run store made by an earlier version: its ids hold, it is read, and its runs go on."""

import shutil
from pathlib import Path

import pytest
from command_line import finish, start

from suite.config import RunSpec
from suite.store.record import RunDirectory

STORES = sorted(path for path in (Path(__file__).parent / "stores").iterdir() if path.is_dir())
FINISHED = {"scratch": "b609751a1724ab7c", "kd": "47e578a7b539fbc6"}
INTERRUPTED, EPOCHS_DONE = "d299cee28bc438cf", 8


@pytest.fixture(params=STORES, ids=lambda path: path.name)
def store(request, tmp_path, monkeypatch):
    shutil.copytree(request.param, tmp_path / "store")
    monkeypatch.setenv("DSKD_RUNS_ROOT", str(tmp_path / "store" / "runs"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path / "store"


def test_every_config_still_hashes_to_the_id_of_its_run(store):
    configs = sorted(store.glob("runs/*/*/config.json"))
    assert len(configs) == 4
    for path in configs:
        assert RunSpec.model_validate_json(path.read_bytes()).run_id == path.parent.name


def test_finished_runs_are_reported_and_not_trained_again(store):
    before = {path: path.read_bytes() for path in store.glob("runs/*/*/*") if path.is_file()}
    words = ("sweep", str(store / "tiny.yaml"), "--executor=local")
    status, output = finish(start(*words))
    assert status == 0, output
    assert "tiny: 3 runs, 3 finished before" in output
    for label, run_id in FINISHED.items():
        result = RunDirectory(store / "runs" / "tiny" / run_id).read_result()
        (row,) = [line for line in output.splitlines() if line.startswith(f"{label} ")]
        assert f"{result['last']['test/top1_percent']:.2f}" in row
    assert {path: path.read_bytes() for path in before if path.suffix != ".lock"} == before


def test_an_interrupted_run_goes_on_from_its_checkpoint(store):
    run = RunDirectory(store / "runs" / "tiny" / INTERRUPTED)
    before = run.read_metrics()
    assert [row["epoch"] for row in before] == list(range(1, EPOCHS_DONE + 1))
    changes = "seeds=[1] methods=[scratch] data.train_limit=800 train.epochs=20"
    words = ("sweep", str(store / "tiny.yaml"), "--executor=local", "--no-report", "--set", changes)
    status, output = finish(start(*words))
    assert status == 0, output
    after = run.read_metrics()
    assert after[:EPOCHS_DONE] == before
    assert [row["epoch"] for row in after] == list(range(1, 21))
    assert run.finished()
