"""The file of what training steps take: entries replace older ones, damage counts as nothing."""

import pytest

from suite.store import cost


def entry(run_id="0123", device="cpu", seconds=(1.0, 2.0), **more):
    return {
        "run_id": run_id, "device": device, "threads": 1, "steps": 20, "run_steps": 100,
        "seconds": list(seconds), **more,
    }  # fmt: skip


def test_an_entry_takes_the_place_of_an_older_one_of_its_run_and_machine(tmp_path):
    path = tmp_path / "made_up" / cost.FILE
    assert path == tmp_path / "made_up" / "cost.json"
    assert cost.load(path) == []
    cost.save(path, [entry(), entry("4567")])
    cost.save(path, [entry(seconds=[3.0]), entry(device="gpu"), entry(threads=2)])
    kept = [(it["run_id"], it["device"], it["threads"], it["seconds"]) for it in cost.load(path)]
    assert kept == [
        ("4567", "cpu", 1, [1.0, 2.0]), ("0123", "cpu", 1, [3.0]),
        ("0123", "gpu", 1, [1.0, 2.0]), ("0123", "cpu", 2, [1.0, 2.0]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [{"seconds": []}, {"seconds": [1.0, -1.0]}, {"steps": 0}, {"run_steps": None}, {"device": 1}],
)
def test_an_entry_that_is_not_whole_is_left_out(tmp_path, fault):
    cost.save(tmp_path / "cost.json", [{**entry("4567"), **fault}, entry()])
    assert [it["run_id"] for it in cost.load(tmp_path / "cost.json")] == ["0123"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"measurements": 1}', b'{"measurements": [1]}'])
def test_a_damaged_file_has_no_entries_and_is_written_anew(tmp_path, content):
    path = tmp_path / "cost.json"
    path.write_bytes(content)
    assert cost.load(path) == []
    cost.save(path, [entry()])
    assert cost.load(path) == [entry()]
