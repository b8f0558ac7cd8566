"""A checkpoint comes back with the same bits, or the one before does, or a message."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from suite.store import checkpoint
from suite.store.record import RunDirectory

LARGE = 2**28  # bytes
UNCOUNTED = 2**22  # bytes: the kernel adds up a process's pages in batches, one for each core
# By how much resident memory grows, at the most, while a large state is written, and read.
GROWTH = """
import re
import sys
from pathlib import Path

import torch

from suite.store import checkpoint
from suite.store.record import RunDirectory


def resident(name):
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\\s+(\\d+) kB", status)[1])


def growth(function, *arguments):
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's mark of the peak begins anew
    before = resident("VmRSS")
    result = function(*arguments)
    return resident("VmHWM") - before, result


run, size = RunDirectory(Path(sys.argv[1])), int(sys.argv[2])
state = {"bank": torch.ones(size // 4), "other": torch.zeros(3)}
checkpoint.save(run, {"step": 1})  # what torch loads for its first
checkpoint.load(run)
written, _ = growth(checkpoint.save, run, state)
read, found = growth(checkpoint.load, run)
assert torch.equal(found["bank"], state["bank"])
print(written, read)
"""


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def test_there_is_no_state_before_the_first_checkpoint(run):
    assert checkpoint.load(run) is None


def test_the_newest_state_comes_back_bit_for_bit(run):
    weights = torch.randn(100, generator=torch.Generator().manual_seed(0))
    for step in (1, 2):
        checkpoint.save(run, {"step": step, "weights": weights * step})
    state = checkpoint.load(run)
    assert state["step"] == 2
    assert torch.equal(state["weights"], weights * 2)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "other"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(run, damage):
    for step in (1, 2):
        checkpoint.save(run, {"step": step})
    content = run.checkpoint.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    spoiled = {
        "truncated": content[:-10],
        "flipped": bytes(flipped),
        "empty": b"",
        "other": b"\x80\x04not a checkpoint\n",
    }
    run.checkpoint.write_bytes(spoiled[damage])
    assert checkpoint.load(run)["step"] == 1


def test_when_no_checkpoint_can_be_read_the_message_names_the_files(run):
    checkpoint.save(run, {"step": 1})
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-1])
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint\.pt is damaged.*delete"):
        checkpoint.load(run)
    assert run.checkpoint.exists()  # nothing is deleted behind the user's back


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux says the peak")
def test_a_large_state_is_written_without_a_copy_and_read_with_one(run):
    """256 MB of banks: they were copied twice to be written, and to be read.

    In a process of its own: one that has freed as much before takes no more from the kernel.
    """
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, run.path, str(LARGE + UNCOUNTED)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    written, read = map(int, done.stdout.split())
    assert written < LARGE / 4
    assert LARGE <= read < 1.25 * LARGE


def test_a_checkpoint_of_before_is_read(run):
    """Made whole in memory, its header first."""
    buffer = io.BytesIO()
    torch.save({"weights": torch.arange(3.0)}, buffer)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    run.checkpoint.write_bytes(checkpoint.MAGIC + sha256 + b"\n" + buffer.getvalue())
    assert checkpoint.load(run)["weights"].tolist() == [0.0, 1.0, 2.0]


def test_a_kill_between_the_two_renames_leaves_the_state_before(run):
    checkpoint.save(run, {"step": 1})
    run.checkpoint.replace(run.previous_checkpoint)  # where save() may be interrupted
    assert checkpoint.load(run)["step"] == 1


def test_a_checkpoint_written_on_a_gpu_is_read_where_there_is_none(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        checkpoint.save(run, {"weights": torch.arange(3.0)})
    assert b"cuda:0" in run.checkpoint.read_bytes()
    weights = checkpoint.load(run)["weights"]
    assert weights.device.type == "cpu"
    assert weights.tolist() == [0.0, 1.0, 2.0]
