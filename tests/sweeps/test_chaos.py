"""Random processes of a sweep are killed at random times until it is finished all the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = 20260
KILLS = 30
LONGEST_PEACE_SECONDS = 12.0  # between two kills; a worker needs some seconds to start
EPOCHS = 250
SETTINGS = (
    "pairs=[cifar_resnet8/cifar_resnet8] data.name=fake train_limit=128 batch_size=32 "
    f"methods=[scratch,kd,crd] seeds=[0,1] epochs={EPOCHS}"
)


def start(root, executor="local"):
    words = ["sweep", "dskd_digits", "--set", SETTINGS, f"--runs-root={root}", "--no-report"]
    fixed = ["--tracker=none", "--accelerator=cpu", "--threads=1", "--jobs=2"]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "suite.cli", *words, *fixed),
            *(f"--executor={executor}", "--checkpoint-seconds=0.5"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes(root):
    """Ids of all processes of sweeps over this run store, launchers included, in order."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(str(root) in word for word in words):
            found.append(int(place.name))
    return sorted(found)


def rows(root):
    """Run id -> rows of metrics without the clock's."""
    found = {}
    for path in root.rglob("metrics.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = [
            {name: value for name, value in line.items() if name != "seconds"} for line in lines
        ]
    return found


def results(root):
    return {path.parent.name: json.loads(path.read_text()) for path in root.rglob("result.json")}


@pytest.mark.chaos
def test_thirty_random_kills_change_nothing(tmp_path):
    chance = random.Random(SEED)
    root = tmp_path / "chaos"
    launcher, kills = start(root), 0
    while kills < KILLS:
        time.sleep(chance.uniform(0, LONGEST_PEACE_SECONDS))
        assert len(results(root)) < 7, f"finished after {kills} kills: raise EPOCHS"
        if launcher.poll() is not None:
            launcher = start(root)
            continue
        try:
            os.kill(chance.choice(processes(root)), signal.SIGKILL)
        except ProcessLookupError:
            continue
        kills += 1
    launcher.communicate()
    out, _ = start(root).communicate()
    assert "7 of 7 runs finished" in out
    first = results(root)
    out, _ = start(root).communicate()
    assert "7 runs, 7 finished before" in out
    assert results(root) == first  # every run ended once

    calm = tmp_path / "calm"
    start(calm, executor="in_process").communicate()
    assert rows(root) == rows(calm)
    assert [row["epoch"] for row in next(iter(rows(root).values()))] == list(range(1, EPOCHS + 1))
    unbroken = {run: it["weights_sha256"] for run, it in results(calm).items()}
    assert {run: it["weights_sha256"] for run, it in first.items()} == unbroken
    assert not list(root.rglob("claim.json"))
