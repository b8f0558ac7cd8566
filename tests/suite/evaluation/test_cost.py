"""`dskd-bench cost` on the runs of a real sweep: what is timed, kept and shown."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from command_line import finished_sweep
from command_line import in_process as run

from analysis.runs import cost as costs
from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables import cost as table
from suite.evaluation import cost
from suite.evaluation.cost import Plan, measure
from suite.interface.errors import UserError
from suite.store.record import RunDirectory
from suite.train.trainer import Trainer

SETTINGS = (
    "pairs=[cifar_resnet14/cifar_resnet8] data.name=fake image_size=8 train_limit=64 epochs=2 "
    "seeds=[0,1] methods=[scratch,kd,mlkd]"
)
LABELS = {"cifar_resnet14", "scratch", "kd", "mlkd"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A sweep of a few seconds: a teacher, and three methods with two seeds, in packs."""
    return finished_sweep(tmp_path_factory.mktemp("runs"), SETTINGS)


@pytest.fixture
def unmeasured(root):
    yield root
    for path in root.glob("*/cost.json"):
        path.unlink()


def measured(capsys, root, *more):
    words = ("--set", SETTINGS, "--runs-root", root, "--accelerator", "cpu")
    return run(capsys, "cost", "dskd_digits", *words, "--repeats", "6", "--steps", "3", *more)


def of(root):
    (manifest,) = root.glob("dskd_digits/manifest*.json")
    return collect(root, manifest)


def test_one_run_of_each_method_and_the_teacher_are_timed_and_nothing_of_them_changes(
    capsys, unmeasured
):
    before = {path: path.read_bytes() for path in unmeasured.rglob("*") if path.is_file()}
    status, out, err = measured(capsys, unmeasured)
    assert status == 0, err
    assert "4 runs timed" in out
    after = {path: path.read_bytes() for path in unmeasured.rglob("*") if path.is_file()}
    (file,) = after.keys() - before.keys()
    assert file == unmeasured / "dskd_digits" / "cost.json"
    assert before.items() <= after.items()
    entries = json.loads(after[file])["measurements"]
    assert {it["label"] for it in entries} == LABELS
    for entry in entries:
        (record,) = (
            json.loads(path.read_text())
            for path in unmeasured.glob(f"*/{entry['run_id']}/result.json")
        )
        assert entry["run_steps"] == record["steps"]
        assert (entry["device"], entry["threads"]) == (
            record["provenance"]["device"], record["provenance"]["threads"],
        )  # fmt: skip
        assert record["seed"] == 0
        assert len(entry["seconds"]) == 6
        assert min(entry["seconds"]) > 0


def test_all_seeds_have_the_seconds_of_the_timed_run_times_its_steps(capsys, unmeasured):
    assert costs.SECONDS not in of(unmeasured).runs
    measured(capsys, unmeasured)
    runs = of(unmeasured).runs
    entries = json.loads((unmeasured / "dskd_digits" / "cost.json").read_text())["measurements"]
    for entry in entries:
        cell = runs[runs["label"] == entry["label"]]
        assert len(cell) == (1 if entry["label"] == "cifar_resnet14" else 2)
        seconds = np.sort(entry["seconds"]) / 3 * entry["run_steps"]
        wanted = (np.median(seconds), seconds[0], seconds[-1])
        for name, value in zip((costs.SECONDS, costs.LOW, costs.HIGH), wanted, strict=True):
            assert list(cell[name]) == pytest.approx([value] * len(cell))


def test_the_table_says_shared_until_it_is_measured_and_then_an_interval(capsys, unmeasured):
    def texts():
        made = table.cost(Grid(of(unmeasured)))
        place = [column.header for column in made.columns].index("training")
        return {row.method: row.cells[place] for row in made.rows}

    before = texts()
    assert before["kd"].text.endswith(" s (shared)")
    assert set(before["kd"].numbers) == {"shared seconds"}
    measured(capsys, unmeasured)
    after = texts()
    for label in ("scratch", "kd", "mlkd"):
        assert set(after[label].numbers) == {"seconds", "low", "high"}
        assert after[label].text.endswith("]")
        assert after[label].numbers["low"] <= after[label].numbers["seconds"]


def test_a_measurement_on_another_kind_of_machine_is_not_taken(capsys, unmeasured):
    measured(capsys, unmeasured)
    path = unmeasured / "dskd_digits" / "cost.json"
    content = json.loads(path.read_text())
    for entry in content["measurements"]:
        entry["device"] = "cpu (another)"
    path.write_text(json.dumps(content))
    runs = of(unmeasured).runs
    assert runs[costs.SECONDS].isna().all()
    assert not costs.of_cell(runs[runs["label"] == "kd"]).alone


def test_what_is_timed_is_each_methods_own_steps(capsys, unmeasured, monkeypatch):
    """A clock that goes on by two seconds in a step of KD and by one in those of others."""
    now, advance = [0.0], Trainer.advance

    def step(self, batch, teacher):
        advance(self, batch, teacher)
        now[0] += 2.0 if self.config.method.name == "kd" else 1.0

    monkeypatch.setattr(Trainer, "advance", step)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    measured(capsys, unmeasured)
    entries = json.loads((unmeasured / "dskd_digits" / "cost.json").read_text())["measurements"]
    each = {it["label"]: it["seconds"] for it in entries}
    assert each == dict.fromkeys(LABELS - {"kd"}, [3.0] * 6) | {"kd": [6.0] * 6}
    assert now[0] == 7 * 3 * (1 + 1 + 1 + 2)  # one repeat more than counts


def test_a_run_that_cannot_be_trained_is_told_and_the_others_are_timed(unmeasured, monkeypatch):
    advance = Trainer.advance

    def broken(self, batch, teacher):
        if self.config.method.name == "kd":
            raise RuntimeError("no step today")
        advance(self, batch, teacher)

    monkeypatch.setattr(Trainer, "advance", broken)
    runs = costs.to_time(of(unmeasured).runs)
    folders = [RunDirectory(unmeasured / place) for place in runs["directory"]]
    timed = measure(folders, Plan(1, 6), cost.Runtime(runs_root=unmeasured), lambda _: None)
    assert {it["label"] for it in timed.entries} == LABELS - {"kd"}
    (fault,) = timed.faults
    assert fault.endswith("(kd): no step today")


@pytest.mark.parametrize(
    ("steps", "repeats", "message"),
    [(0, 9, "steps 0: must be at least 1"), (20, 5, "repeats 5: must be at least 6")],
)
def test_too_few_steps_or_repeats_are_refused(steps, repeats, message):
    with pytest.raises(UserError, match=message):
        Plan(steps, repeats)


def test_a_machine_is_busy_when_more_threads_want_to_run_than_it_has_cores(monkeypatch):
    monkeypatch.setattr(cost, "cores", lambda: 2)
    assert [cost.busy(load, threads=1) for load in (0.0, 1.5, 1.6)] == [False, False, True]


def test_a_cell_is_alone_only_where_all_its_runs_are():
    runs = pd.DataFrame(
        {"train_seconds": [8.0, 10.0], "packed": [4, 1], "state": "finished"}
        | dict.fromkeys((costs.SECONDS, costs.LOW, costs.HIGH), 20.0)
    )
    assert costs.of_cell(runs) == (20.0, 20.0, 20.0, True, False)
    runs.loc[1, costs.SECONDS] = np.nan  # trained elsewhere
    assert costs.of_cell(runs)[0] == 9.0
    assert costs.of_cell(runs)[3:] == (False, True)
    assert list(costs.seconds_of(runs)) == [20.0, 10.0]
    assert list(costs.shared(runs)) == [False, False]
    assert list(costs.shared(runs.drop(columns=costs.SECONDS))) == [True, False]
