"""Records made by other code are marked with the modules in which it differs."""

import json

import pandas as pd

from analysis.runs import origin
from analysis.runs.cache import code_version
from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.accuracy import accuracy
from suite.store import source
from suite.tracking.describe import summary

HERE = source.hashes(
    {
        name: source.module_file(name, source.RUNS)
        for name in ("suite.train.trainer", "suite.train.run")
    }
)


def finish(store, label, seed, **modules):
    """A record made by the code that is here, but for ``modules``; dots as ``__``."""
    code = {**HERE, f"baselines.{label}": own(label)}
    code |= {name.replace("__", "."): text for name, text in modules.items()}
    store.finish(store.add(label, seed), 90.0, source=source.combined(code), modules=code)


def own(label):
    name = f"baselines.{label}"
    return source.hashes({name: source.module_file(name, source.RUNS)})[name]


def runs_of(store):
    return collect(store.root, store.write_manifest()).runs.set_index(["label", "seed"])


def notes_of(store):
    return accuracy(Grid(collect(store.root, store.write_manifest()))).notes


def test_methods_have_code_of_their_own_and_no_run_is_stale_for_that(store):
    for label in ("kd", "dkd", "fitnet"):
        finish(store, label, 0)
    runs = runs_of(store)
    assert not runs["stale"].any()
    assert list(runs["changed_since"]) == ["", "", ""]
    assert not any("code" in note for note in notes_of(store))


def test_the_mark_names_the_modules_that_differ_from_most_runs(store):
    for seed in (0, 1):
        finish(store, "kd", seed)
    finish(store, "kd", 2, baselines__kd="0" * 16, suite__train__run="1" * 16)
    finish(store, "dkd", 0)
    runs = runs_of(store)
    assert dict(runs["stale_modules"]) == {
        ("kd", 0): "",
        ("kd", 1): "",
        ("kd", 2): "baselines.kd, suite.train.run",
        ("dkd", 0): "",
    }
    assert list(runs["stale"]) == [False, False, True, False]
    note = (
        "† some runs were made by other code than most: baselines.kd, suite.train.run (kd: 1 run)."
    )
    assert note in notes_of(store)


def test_an_edited_method_is_told_though_all_its_runs_have_the_same_code(store):
    """Nothing is trained again by itself: the report must say that the figures are old."""
    for seed in (0, 1):
        finish(store, "dkd", seed, baselines__dkd="0" * 16)
        finish(store, "kd", seed)
    runs = runs_of(store)
    assert not runs["stale"].any()
    assert runs.loc["dkd", "changed_since"].unique().tolist() == ["baselines.dkd"]
    assert runs.loc["kd", "changed_since"].unique().tolist() == [""]
    note = "Code that has changed here since these runs were made: baselines.dkd (dkd: 2 runs)."
    assert note in notes_of(store)


def test_records_that_list_no_modules_are_other_code_than_those_that_do(store):
    for seed in (0, 1):
        finish(store, "kd", seed)
    store.finish(store.add("kd", 2), source="a" * 64)
    runs = runs_of(store)
    assert list(runs["stale_modules"]) == ["", "", "the harness or methods"]


def test_many_modules_are_counted(store):
    finish(store, "kd", 0, **{f"suite__m{n}": "0" * 16 for n in range(5)})
    assert runs_of(store)["changed_since"].item() == "suite.m0, suite.m1, suite.m2 and 2 more"


def test_a_store_with_a_cache_says_the_same(store, tmp_path):
    finish(store, "kd", 0)
    finish(store, "kd", 1, suite__train__run="0" * 16)
    finish(store, "kd", 2)
    manifest, cache = store.write_manifest(), tmp_path / "cache.json"
    for _ in range(2):
        runs = collect(store.root, manifest, cache).runs
        assert list(runs["stale_modules"]) == ["", "suite.train.run", ""]
    assert "source_modules" not in cache.read_text()  # 2 kB a run


def test_figures_kept_by_an_older_metric_in_a_new_file_are_measured_again(tmp_path, monkeypatch):
    """The key of a cache follows from what its maker imports; nobody keeps a list."""
    folder, cache = tmp_path / "analysis" / "feature_gap", tmp_path / "analysis" / "runs"
    folder.mkdir(parents=True)
    cache.mkdir()
    (folder / "gap.py").write_text("from analysis.feature_gap import curvature\n")
    (cache / "cache.py").write_text("")
    (folder / "curvature.py").write_text("def curvature(x):\n    return 1.0 * x\n")
    monkeypatch.setattr("analysis.runs.cache.PACKAGES", {"analysis": tmp_path})
    versions = []
    for factor in ("1.0", "2.0"):
        (folder / "curvature.py").write_text(f"def curvature(x):\n    return {factor} * x\n")
        for function in (code_version, source.code_sha256, source._imported):
            function.cache_clear()
        versions.append(code_version("analysis.feature_gap.gap"))
    code_version.cache_clear()
    assert versions[0] != versions[1]


def test_every_module_that_makes_gaps_is_in_the_key():
    files = source.behind(["analysis.feature_gap.gap"], {"analysis": source.ROOT})
    gap = {
        f"analysis.feature_gap.{it}" for it in ("gap", "features", "feature_files", "image_noise")
    }
    assert gap | {"analysis.runs.records", "analysis.runs.cache"} <= set(files)


def test_w_and_b_has_the_lists_as_text():
    record = {"provenance": {"source_sha256": "a", "source_modules": {"suite.train.run": "b"}}}
    flat = summary(record)
    assert json.loads(flat["provenance/source_modules"]) == {"suite.train.run": "b"}
    assert origin.of_columns(pd.DataFrame([flat])) == {"a": {"suite.train.run": "b"}}


def teach(store, label, seed, weights, teacher_seed=None):
    """A finished run that was taught by these weights."""
    entry = store.add(label, seed, teacher_seed=teacher_seed)
    record = store.finish(entry, features=False)
    record["teacher"]["weights_sha256"] = weights
    (store.path(entry) / "result.json").write_text(json.dumps(record))


def test_runs_of_a_pair_taught_by_other_weights_than_most_are_marked_in_one_line(store):
    for label in ("kd", "dkd"):
        for seed in (0, 1):
            teach(store, label, seed, "b" * 64 if (label, seed) == ("dkd", 1) else "a" * 64)
    store.finish(store.add("scratch", 0), features=False)
    assert dict(runs_of(store)["other_teacher"]) == {
        ("kd", 0): False, ("kd", 1): False, ("dkd", 0): False, ("dkd", 1): True,
        ("scratch", 0): False,
    }  # fmt: skip
    (note,) = [note for note in notes_of(store) if note.startswith("§")]
    assert "taught by other weights than most of their column (dkd: 1 run)" in note
    table = accuracy(Grid(collect(store.root, store.write_manifest())))
    texts = {row.method: row.cells[1].text for row in table.rows}
    assert texts["dkd"].endswith("(2)§")
    assert not texts["kd"].endswith("§")


def test_teachers_of_several_seeds_are_meant_to_differ(store):
    for teacher_seed, weights in ((0, "a" * 64), (1, "b" * 64)):
        for label in ("kd", "dkd"):
            teach(store, label, 0, weights, teacher_seed)
    runs = collect(store.root, store.write_manifest()).runs
    assert not runs["other_teacher"].any()
    assert not any(note.startswith("§") for note in notes_of(store))
