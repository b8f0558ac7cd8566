"""A search goes on after its queue or its journal was damaged."""

import pytest
import simulated

from sweeps.search.driver import Driver
from sweeps.search.plan import load
from sweeps.search.queue import Queue
from sweeps.search.study import open_storage

ASKED = b'"op_code":4'  # Optuna's line for a new trial: later trials are asked again, this one too


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b"\xff\x00"])
def test_the_driver_writes_a_damaged_queue_file_anew(tmp_path, content):
    path = simulated.write_search(tmp_path)
    plan = load(path)
    driver = Driver(plan, open_storage(tmp_path / plan.name, None), tmp_path, parallel=1)
    driver.step()
    (file,) = driver.queue.folder.glob("*.json")
    whole = file.read_bytes()
    file.write_bytes(content)
    assert Queue(tmp_path, plan.name).runs() == []  # a worker leaves it
    driver.step()
    assert file.read_bytes() == whole
    ((spec, _),) = Queue(tmp_path, plan.name).runs()
    assert spec == plan.teachers[0]


@pytest.mark.parametrize("damaged", [b"}{", b"[1]", b"\xff"])
def test_a_study_with_a_damaged_line_is_asked_again_from_there(tmp_path, damaged, caplog):
    path = simulated.write_search(tmp_path)
    whole = simulated.drive_alone(path, tmp_path, trials=6).studies[0].study
    expected = simulated.outcome(whole)
    journal = tmp_path / "quick" / "study.journal"
    lines = journal.read_bytes().splitlines()
    middle = next(it for it, line in enumerate(lines) if it > len(lines) // 2 and ASKED in line)
    lines[middle] = damaged
    journal.write_bytes(b"\n".join(lines) + b"\n")

    trained = []

    def run(spec, runtime, should_stop):
        trained.append(spec.run_id)
        simulated.train(spec, runtime, should_stop)

    again = simulated.drive_alone(path, tmp_path, trials=6, run=run).studies[0].study
    assert simulated.outcome(again) == expected
    assert f"line {middle + 1} of {len(lines)} is damaged" in caplog.text
    assert str(journal) in caplog.text
    assert (tmp_path / "quick" / "study.journal.damaged-1").exists()
    finished = {it.parent.name for it in tmp_path.glob("*/*/result.json")}
    assert len(trained) < len(finished)
