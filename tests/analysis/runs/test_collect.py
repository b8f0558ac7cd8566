"""Every expected run keeps its row: damage becomes a state with a reason, never a number."""

import json
import re

import pytest
from counted_calls import at_most
from synthetic_store import Store, digits

from analysis.runs.collect import CollectError, collect, epochs
from suite.store.record import read_rows


def by_label(collected):
    return collected.runs.set_index(["label", "seed"])


def test_a_finished_sweep_has_19_finished_rows_with_their_accuracy(finished):
    collected = collect(finished.root, finished.manifest)
    assert len(collected.runs) == 19
    assert set(collected.runs["state"]) == {"finished"}
    assert len(collected.students()) == 18
    record = json.loads((finished.path(finished.entries[-1]) / "result.json").read_text())
    row = collected.runs.iloc[-1]
    assert row["last/test/top1_percent"] == record["last"]["test/top1_percent"]
    assert row["parameters/deploy"] == 17_000


def test_missing_failed_unfinished_and_finished_runs_are_told_apart(store):
    missing, failed, unfinished, done = (store.add("kd", seed) for seed in range(4))
    store.fail(failed, "CUDA out of memory", "OutOfMemoryError")
    store.metrics(unfinished, 7)
    store.finish(done)
    rows = by_label(collect(store.root, store.write_manifest()))
    states = [rows.loc[("kd", seed), "state"] for seed in range(4)]
    assert states == ["missing", "failed", "unfinished", "finished"]
    assert rows.loc[("kd", 1), "reason"] == "OutOfMemoryError: CUDA out of memory"
    assert rows.loc[("kd", 2), "reason"] == "epoch 7 of 30"
    assert missing["run_id"] == rows.loc[("kd", 0), "run_id"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"run_id": "', "not readable"),
        ("[]", "not readable"),
        ('{"run_id": "x"}', "last is no object"),
        ('{"run_id": "x", "last": {"epoch": 1}}', "no accuracy"),
        ('{"run_id": "x", "last": {"epoch": 1, "test/top1_percent": NaN}}', "must be 0 to 100"),
        ('{"run_id": "x", "last": {"epoch": 1, "test/top1_percent": 9135}}', "must be 0 to 100"),
        ('{"run_id": "x", "last": {"epoch": 1, "test/top1_percent": "91"}}', "must be 0 to 100"),
        ('{"run_id": "x", "last": {"epoch": 1, "test/top1_percent": true}}', "must be 0 to 100"),
        ('{"last": {"epoch": 1, "test/top1_percent": 91}}', "run_id is missing"),
    ],
)
def test_a_damaged_result_is_no_result(store, text, reason):
    entry = store.add("kd", 0)
    store.finish(entry)
    (store.path(entry) / "result.json").write_text(text)
    row = by_label(collect(store.root, store.write_manifest())).loc[("kd", 0)]
    assert row["state"] == "damaged"
    assert reason in row["reason"]


def test_a_result_copied_from_another_run_fills_no_cell(store):
    first, second = store.add("kd", 0), store.add("kd", 1)
    store.finish(first)
    store.finish(second)
    copied = (store.path(first) / "result.json").read_text()
    (store.path(second) / "result.json").write_text(copied)
    rows = by_label(collect(store.root, store.write_manifest()))
    assert rows.loc[("kd", 0), "state"] == "finished"
    assert rows.loc[("kd", 1), "state"] == "damaged"
    assert first["run_id"] in rows.loc[("kd", 1), "reason"]


@pytest.mark.parametrize("edit", [{"batch_size": 128}, None])
def test_a_run_whose_config_was_edited_is_no_result(store, edit):
    entry = store.add("kd", 0)
    store.finish(entry)
    path = store.path(entry) / "config.json"
    content = json.loads(path.read_text())
    content["config"]["train"] |= edit or {}
    path.write_text(json.dumps(content) if edit else "{")
    row = by_label(collect(store.root, store.write_manifest())).loc[("kd", 0)]
    assert row["state"] == "damaged"
    why = "is not the configuration of which the run id is the hash" if edit else "is damaged"
    assert row["reason"].startswith(f"config.json {why}")


def test_two_runs_for_one_cell_are_a_conflict_and_neither_counts(store):
    for salt in ("a", "b"):
        store.finish(store.add("kd", 0, salt=salt))
    store.finish(store.add("kd", 1))
    rows = collect(store.root, store.write_manifest()).runs
    assert sorted(rows["state"]) == ["conflict", "conflict", "finished"]


def test_a_run_listed_twice_counts_once(store):
    entry = store.add("kd", 0)
    store.finish(entry)
    store.entries.append(dict(entry))
    assert len(collect(store.root, store.write_manifest()).runs) == 1


def test_one_run_may_fill_the_cells_of_two_pairs(store):
    for pair in ("big/small", "huge/small"):
        entry = store.add("scratch", 0, pair, models=("t", "s"))
    store.finish(entry)
    rows = collect(store.root, store.write_manifest()).runs
    assert rows["run_id"].nunique() == 1
    assert list(rows["state"]) == ["finished", "finished"]


def test_two_experiments_stand_in_one_frame_and_a_run_of_both_counts_once(tmp_path):
    first, second = Store(tmp_path, "first"), Store(tmp_path, "second")
    first.finish(first.add("kd", 0))
    first.add("dkd", 0)
    second.finish(second.add("dkd", 0))
    second.finish(second.add("crd", 0))
    together = collect(tmp_path, [first.write_manifest(), second.write_manifest()])
    assert together.experiment == "first + second"
    assert together.command == "make sweep EXP=first\nmake sweep EXP=second"
    assert list(together.runs["label"]) == ["kd", "dkd", "crd"]
    assert set(together.runs["state"]) == {"finished"}


def test_experiments_that_differ_in_a_run_of_one_cell_are_in_conflict(tmp_path):
    first, second = Store(tmp_path, "first"), Store(tmp_path, "second")
    first.finish(first.add("kd", 0))
    second.finish(second.add("kd", 0, salt="other options"))
    together = collect(tmp_path, [first.write_manifest(), second.write_manifest()])
    assert list(together.runs["state"]) == ["conflict", "conflict"]


def test_a_record_of_other_code_than_most_is_stale(store):
    for seed in range(4):
        store.finish(store.add("kd", seed), source=("b" if seed == 2 else "a") * 64)
    rows = by_label(collect(store.root, store.write_manifest()))
    assert list(rows["stale"]) == [False, False, True, False]


def test_metrics_stop_at_a_torn_line_and_count_a_repeated_epoch_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "x": 1}\n{"epoch": 2, "x": 2}\n{"epoch": 2, "x": 3}\n{"epo')
    assert read_rows(path) == [{"epoch": 1, "x": 1}, {"epoch": 2, "x": 3}]


def test_epochs_are_tidy_and_a_figure_that_was_not_evaluated_is_nan(store):
    entry = store.add("kd", 0)
    store.metrics(entry, 2)
    path = store.path(entry) / "metrics.jsonl"
    path.write_text('{"epoch": 1, "train/loss": 2}\n{"epoch": 2, "test/top1_percent": 50}\n')
    collected = collect(store.root, store.write_manifest())
    table = epochs(collected, collected.runs, lambda name: name.startswith("test/"))
    assert list(table.columns) == ["run_id", "epoch", "test/top1_percent"]
    assert table["test/top1_percent"].isna().tolist() == [True, False]


def test_the_cache_gives_the_same_frame_and_sees_every_change(store, tmp_path):
    entries = [store.add("kd", seed) for seed in range(3)]
    for entry in entries[:2]:
        store.finish(entry)
    manifest, cache = store.write_manifest(), tmp_path / "cache.json"
    cold = collect(store.root, manifest, cache)
    warm = collect(store.root, manifest, cache)
    assert warm.runs.equals(cold.runs)
    store.finish(entries[2])
    (store.path(entries[0]) / "result.json").unlink()
    states = list(collect(store.root, manifest, cache).runs["state"])
    assert states == ["unfinished", "finished", "finished"]


def test_runs_that_name_the_same_networks_share_one_text(finished, tmp_path):
    for _ in ("cold", "from the cache"):
        runs = collect(finished.root, finished.manifest, tmp_path / "cache.json").students()
        for name in ("student", "pair", "state", "provenance/source_sha256"):
            assert len(set(map(id, runs[name]))) == runs[name].nunique() == 1, name


def test_a_damaged_cache_is_made_anew(store, tmp_path):
    store.finish(store.add("kd", 0))
    manifest, cache = store.write_manifest(), tmp_path / "cache.json"
    cache.write_text('{"format": 1, "directories": [')
    assert list(collect(store.root, manifest, cache).runs["state"]) == ["finished"]
    assert "last/test/top1_percent" in json.loads(cache.read_text().splitlines()[0])["columns"]


def test_a_cache_made_by_other_code_is_made_anew(store, tmp_path):
    store.finish(store.add("kd", 0))
    manifest, cache = store.write_manifest(), tmp_path / "cache.json"
    collect(store.root, manifest, cache)
    head, directories, states, *columns = map(json.loads, cache.read_text().splitlines())
    columns[head["columns"].index("last/test/top1_percent")] = [12.0]
    lines = [head, directories, states, *columns]
    cache.write_text("\n".join(map(json.dumps, lines)))
    assert collect(store.root, manifest, cache).runs["last/test/top1_percent"].item() == 12.0
    lines[0] = head | {"made_by": "older code"}
    cache.write_text("\n".join(map(json.dumps, lines)))
    assert collect(store.root, manifest, cache).runs["last/test/top1_percent"].item() > 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": []}, "runs is empty"),
        ({"runs": [{"run_id": "x"}]}, r"runs\[0\].directory must be str"),
        ({"dataset": None}, "dataset must be str"),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(store, change, message):
    store.add("kd", 0)
    content = json.loads(store.write_manifest().read_text()) | change
    store.manifest.write_text(json.dumps(content))
    with pytest.raises(CollectError, match=message):
        collect(store.root, store.manifest)


def test_no_manifest_says_what_to_do(tmp_path):
    with pytest.raises(CollectError, match="start the sweep once"):
        collect(tmp_path, tmp_path / "manifest.json")


def test_no_manifest_names_the_settings_that_were_started(store):
    store.add("kd", 0)
    content = json.loads(store.write_manifest().read_text())
    command = "make sweep EXP=dskd_digits SET='seeds=[0]'"
    other = store.manifest.with_name("manifest-0a1b2c3d.json")
    other.write_text(json.dumps(content | {"command": command}))
    store.manifest.with_name("manifest-damaged.json").write_text("{")
    store.manifest.unlink()
    with pytest.raises(CollectError, match=re.escape(f"of one: {command}")):
        collect(store.root, store.manifest)


def test_a_thousand_records_are_read_once_in_calls_that_grow_with_their_number(tmp_path):
    store = digits(tmp_path / "runs", labels=("kd",), seeds=(0,))
    record = (store.path(store.entries[-1]) / "result.json").read_text()
    for seed in range(1, 1000):
        entry = store.add("kd", seed)
        store.path(entry).mkdir(parents=True)
        (store.path(entry) / "result.json").write_text(record)
    manifest, cache = store.write_manifest(), tmp_path / "cache.json"
    with at_most(1_500_000):
        collect(store.root, manifest, cache)
    with at_most(600_000):
        collect(store.root, manifest, cache)
