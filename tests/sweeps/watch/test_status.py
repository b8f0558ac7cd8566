"""What the status says of a run store, without SLURM and without the launcher."""

import io
import os

import pytest
from rich.console import Console

from suite.interface.errors import UserError
from suite.store.lease import acquire
from suite.store.states import directory_of
from sweeps.plan.expand import expand
from sweeps.slurm import jobs
from sweeps.watch.board import Board
from sweeps.watch.status import status

SETTINGS = ["seeds=[0] methods=[scratch,kd]"]


@pytest.fixture
def store(tmp_path):
    """A run store with a manifest of a teacher and two students; nothing has begun."""
    plan = expand("dskd_digits", SETTINGS)
    return plan, plan.write_manifest(tmp_path), tmp_path


def shown(runs_root):
    out = io.StringIO()
    status("dskd_digits", SETTINGS, runs_root, console=Console(file=out, width=200))
    return out.getvalue()


def states(manifest):
    return [it.state for it in Board(manifest).runs.values()]


def test_a_run_is_ready_waiting_running_stopped_failed_finished_or_blocked(store):
    plan, manifest, root = store
    teacher, scratch, kd = (directory_of(spec, root) for spec in plan.runs)
    assert states(manifest) == ["ready", "ready", "waiting"]
    with acquire(teacher.path):
        assert states(manifest) == ["running", "ready", "waiting"]
        assert f"on {os.uname().nodename}" in shown(root)
    teacher.write_failure(RuntimeError("out of memory"))
    assert states(manifest) == ["failed", "ready", "blocked"]
    teacher.result.write_text('{"run_id": "a"}')
    scratch.path.mkdir()
    scratch.append_metrics({"epoch": 3, "val/top1_percent": 12.5})
    kd.path.mkdir()
    kd.write_failure(RuntimeError("the loss is not finite"))
    assert states(manifest) == ["finished", "stopped", "failed"]
    assert "epoch 3/" in shown(root)
    assert "val 12.50 %" in shown(root)
    assert "the loss is not finite" in shown(root)


def test_the_ledger_names_the_newest_job_of_a_run_and_survives_a_torn_line(store, monkeypatch):
    plan, manifest, root = store
    runs = tuple(f"{spec.experiment}/{spec.run_id}" for spec in plan.runs[1:])
    jobs.add(root, "dskd_digits", [jobs.Job("11_0", runs, 1.0), jobs.Job("12_0", runs[:1], 2.0)])
    with (root / "dskd_digits" / jobs.LEDGER).open("a") as file:
        file.write('{"id": "13_0", "ru')
    jobs.add(root, "dskd_digits", [jobs.Job("14_0", runs[1:], 3.0)])
    assert [job.id for job in jobs.read(root)] == ["11_0", "12_0", "14_0"]
    monkeypatch.setattr(jobs, "queued", lambda _: {"12_0": "PENDING"})
    monkeypatch.setattr(jobs, "ended", lambda _: {"14_0": "CANCELLED by 0"})
    assert states(manifest) == ["ready", "queued", "waiting"]
    assert "job 14_0 CANCELLED by 0" in shown(root)


def test_an_experiment_that_has_not_begun_is_one_clear_message(tmp_path):
    with pytest.raises(UserError, match="has not been started"):
        shown(tmp_path)


def test_the_board_of_many_runs_counts_by_cell_and_lists_what_needs_a_look(tmp_path):
    seeds = ",".join(map(str, range(60)))
    settings = [f"seeds=[{seeds}] methods=[scratch,kd]"]
    plan = expand("dskd_digits", settings)
    plan.write_manifest(tmp_path)
    failed = directory_of(plan.runs[-1], tmp_path)
    failed.path.mkdir(parents=True)
    failed.write_failure(RuntimeError("out of luck"))
    out = io.StringIO()
    status("dskd_digits", settings, tmp_path, console=Console(file=out, width=200))
    assert "121 runs: 61 ready, 59 waiting, 1 failed" in out.getvalue()
    assert "0/60" in out.getvalue()
    assert out.getvalue().count("out of luck") == 1


def test_watching_ends_when_nothing_runs_or_waits_in_a_queue_any_more(store, monkeypatch):
    plan, _, root = store
    monkeypatch.setattr("sweeps.watch.status.WATCH_SECONDS", 0)
    failed = directory_of(plan.runs[0], root)
    failed.path.mkdir(parents=True)
    failed.write_failure(RuntimeError("the loss is not finite"))
    out = Console(file=io.StringIO(), width=200)
    status("dskd_digits", SETTINGS, root, console=out, watch=True)
    assert "1 failed, 1 ready, 1 blocked" in out.file.getvalue()
