"""A sweep in worker processes: killed in the middle, stopped, started again."""

import json
import os
import signal
import time

import command_line
import pytest
from command_line import finish

SETTINGS = (
    "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=128 methods=[scratch,kd] "
    "seeds=[0,1] epochs=25"
)


def start(root, executor):
    """A sweep."""
    return command_line.start(
        *("sweep", "dskd_digits", "--set", SETTINGS),
        *(f"--executor={executor}", f"--runs-root={root}", "--tracker=none", "--no-report"),
        *("--accelerator=cpu", "--threads=1", "--jobs=2"),
    )


def test_a_sweep_whose_first_runs_all_die_of_one_error_says_so_and_trains_no_more(tmp_path):
    """Twelve runs in packs of four at most: the second pack makes eight deaths."""
    process = command_line.start(
        *("sweep", "dskd_digits", "--set", "data.name=fake train_limit=128 methods=[scratch]"),
        *("--set", "pairs=[cifar_resnet8/cifar_resnet8] seeds=[0,1,2,3,4,5,6,7,8,9,10,11]"),
        *("--set", "optimizer.lr=1e30 optimizer.clip_grad_norm=null", "--executor=in_process"),
        *(f"--runs-root={tmp_path}", "--tracker=none", "--no-report", "--accelerator=cpu"),
    )
    status, out = finish(process)
    assert status == 1, out
    assert "stopped: the first runs all died of one error: the loss is not finite" in out
    died = out.count("not finished: scratch seed")
    assert len(list(tmp_path.rglob("failure.json"))) in range(5, 9)
    assert died == 12
    assert ": ready" in out


def results(root):
    found = [json.loads(path.read_text()) for path in root.rglob("result.json")]
    return {result["run_id"]: result["weights_sha256"] for result in found}


def wait_for_rows(root, process, rows):
    """Until the runs have written so many epochs together."""
    while process.poll() is None:
        if sum(len(p.read_text().splitlines()) for p in root.rglob("metrics.jsonl")) >= rows:
            return
        time.sleep(0.05)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    root = tmp_path_factory.mktemp("unbroken") / "runs"
    status, out = finish(start(root, "in_process"))
    assert status == 0, out
    return results(root)


@pytest.mark.chaos
def test_a_sweep_killed_with_all_its_workers_ends_with_the_same_bits(tmp_path, unbroken):
    root = tmp_path / "runs"
    process = start(root, "local")
    wait_for_rows(root, process, 30)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(results(root)) < 5
    status, out = finish(start(root, "local"))
    assert status == 0, out
    assert "5 of 5 runs finished" in out
    assert results(root) == unbroken
    for metrics in root.rglob("metrics.jsonl"):
        epochs = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
        assert epochs == list(range(1, 26))


def test_an_interrupted_sweep_leaves_cleanly_and_goes_on_at_the_next_call(tmp_path, unbroken):
    root = tmp_path / "runs"
    process = start(root, "local")
    wait_for_rows(root, process, 1)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal's Ctrl-C does
    status, out = finish(process)
    assert status == 130, out
    assert "the same command goes on from there" in out
    saved = [path.parent for path in root.rglob("checkpoint.pt")]
    assert saved
    folders = list((root / "jobs").glob("*/"))
    assert folders
    assert {path.stat().st_mode & 0o777 for path in [root / "jobs", *folders]} == {0o700}
    assert not [path for path in folders if "%" in path.name]
    status, out = finish(start(root, "in_process"))
    assert status == 0, out
    assert results(root) == unbroken
