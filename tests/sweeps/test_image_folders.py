"""Image folders from experiment to report: runs of other images are other runs, never mixed."""

import json
import multiprocessing
import shutil
from itertools import count

import numpy as np
import pytest
from PIL import Image

from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.cost import cost
from suite.cli.app import main
from suite.config import DataConfig, FolderContents, Runtime
from suite.data import DataError, identify
from suite.interface.errors import UserError
from suite.store import predictions
from suite.store.predictions import Predictions
from suite.store.record import RunDirectory
from suite.train.run import Interrupted, run
from sweeps.plan.expand import expand
from sweeps.search.plan import load as load_search

EXPERIMENT = """
recipe: digits
pairs: [cifar_resnet8/cifar_resnet8]
methods: [scratch, kd]
seeds: [0]
data: {name: "my birds", image_size: 16}
train: {epochs: 1, batch_size: 8}
"""


def paint(folder, seed, count=6):
    stream = np.random.default_rng(seed)
    for split in ("train", "val"):
        for name in ("owl", "wren"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = stream.integers(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two data roots whose folders have one name and other images, and an experiment."""
    folder = tmp_path_factory.mktemp("folders")
    paint(folder / "first" / "my birds", 1)
    paint(folder / "second" / "my birds", 2)
    (folder / "birds.yaml").write_text(EXPERIMENT)
    return folder


def runtime(place, root="first"):
    return Runtime(
        data_root=place / root,
        runs_root=place / "runs",
        workers=0,
        accelerator="cpu",
        tracker="none",
        threads=1,
    )


def planned(place, root="first"):
    return expand(str(place / "birds.yaml"), [], runtime(place, root)).runs


def test_two_folders_of_one_name_share_no_run_and_no_teacher(place):
    first, second = planned(place, "first"), planned(place, "second")
    assert [spec.role for spec in first] == ["teacher", "student", "student"]
    assert not {spec.run_id for spec in first} & {spec.run_id for spec in second}
    for specs in (first, second):
        student = next(spec for spec in specs if spec.config.teacher)
        assert student.config.teacher.run_id == specs[0].run_id


def test_the_same_images_elsewhere_give_the_same_runs(place, tmp_path):
    shutil.copytree(place / "first" / "my birds", tmp_path / "my birds")
    elsewhere = Runtime(data_root=tmp_path, runs_root=tmp_path / "runs")
    found = expand(str(place / "birds.yaml"), [], elsewhere).runs
    assert [it.run_id for it in found] == [it.run_id for it in planned(place)]


DIGITS = """
recipe: digits
pairs: [teacher/student]
methods: [scratch, kd, fitnet, crd, dkd, dskd]
seeds: [0, 1, 2]
data: {train_limit: 200}
teacher: {data: {train_limit: null}, train: {epochs: 60, batch_size: 64}}
"""


def test_runs_of_the_sets_that_ship_keep_the_ids_they_had(tmp_path):
    """Of commit 6eb39a5, with the digits experiment as it was there."""
    (tmp_path / "digits_then.yaml").write_text(DIGITS)
    runs = expand(str(tmp_path / "digits_then.yaml")).runs
    ids = [runs[0].run_id, runs[1].run_id, runs[-1].run_id]
    assert ids == ["835eaa3a914c3475", "53627b14aee8f16c", "6c9a5545d2891ad2"]
    assert expand("dskd_cifar_small").runs[0].run_id == "a831cf553e801e06"


def test_a_search_on_other_images_is_another_study(place):
    search = place / "search.yaml"
    search.write_text(
        f"experiment: {place / 'birds.yaml'}\npair: cifar_resnet8/cifar_resnet8\n"
        "methods: [kd]\nbudget: {trials: 2}\n"
    )
    plans = [load_search(str(search), [], None, runtime(place, it)) for it in ("first", "second")]
    names = {tuning.study_name for plan in plans for tuning in plan.tunings}
    assert len(names) == 2


def test_an_unknown_folder_is_a_fault_of_the_experiment(place):
    (place / "bird.yaml").write_text(EXPERIMENT.replace("birds", "bird"))
    with pytest.raises(UserError, match=r"unknown data set 'my bird' \(did you mean my birds\?\)"):
        expand(str(place / "bird.yaml"), [], runtime(place))


def test_nobody_else_says_which_images_a_folder_holds(place):
    with pytest.raises(UserError, match=r"data\.contents: is found from the images; leave it out"):
        expand(str(place / "birds.yaml"), ["data.contents={}"], runtime(place))


def test_a_run_that_does_not_say_of_which_images_is_not_trained(place):
    spec = expand(str(place / "birds.yaml"), ["data.name=imagefolder"]).runs[0]
    with pytest.raises(DataError, match=r"data\.contents: missing"):
        run(spec, runtime(place))


def test_a_run_with_loading_processes_ends_with_the_bits_of_one_without_and_leaves_none(
    place, tmp_path
):
    """Stopped every few steps, and in the end; 12 images in two batches of 3 epochs."""
    spec = expand(str(place / "birds.yaml"), ["teacher.train.epochs=3"], runtime(place)).runs[0]
    plain, helped = (
        runtime(place).model_copy(update={"runs_root": tmp_path / str(it), "workers": it})
        for it in (0, 2)
    )
    run(spec, plain)
    stops = 0
    while True:
        asked = count()
        try:
            run(spec, helped, lambda asked=asked: next(asked) >= 2)
        except Interrupted:
            stops += 1
            assert not multiprocessing.active_children()
        else:
            break
    assert stops > 1
    assert not multiprocessing.active_children()
    hashes = {
        RunDirectory.of(it.runs_root, spec.experiment, spec.run_id).read_result()["weights_sha256"]
        for it in (plain, helped)
    }
    assert len(hashes) == 1


def test_a_run_that_fails_leaves_no_loading_process(place, tmp_path, monkeypatch):
    def fails(*_):
        assert len(multiprocessing.active_children()) == 2
        raise RuntimeError("no such step")

    monkeypatch.setattr("suite.train.trainer.Trainer.advance", fails)
    here = runtime(place).model_copy(update={"runs_root": tmp_path, "workers": 2})
    with pytest.raises(RuntimeError, match="no such step"):
        run(planned(place)[0], here)
    assert not multiprocessing.active_children()


def command(*words):
    """Exit status of ``dskd-bench``."""
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.fixture(scope="module")
def swept(place):
    """The sweep on the first images, finished; then on the second, into the same run store."""
    manifests = []
    for root in ("first", "second"):
        where = ("--runs-root", place / "runs", "--data-root", place / root)
        how = ("--executor", "in_process", "--no-report", "--tracker", "none", "--workers", 0)
        assert command("sweep", place / "birds.yaml", *where, *how, "--threads", 1) == 0
        kept = place / "runs" / "birds" / f"manifest-{root}.json"
        shutil.copy(place / "runs" / "birds" / "manifest.json", kept)
        manifests.append(kept)
    return manifests


def test_both_are_trained_in_one_store_and_each_has_its_own_teacher(place, swept):
    teachers = {planned(place, root)[0].run_id for root in ("first", "second")}
    assert len(teachers) == 2
    for manifest in swept:
        runs = collect(place / "runs", manifest).runs
        assert set(runs["state"]) == {"finished"}
        assert len(set(runs["teacher_run_id"].dropna()) & teachers) == 1
        assert runs["dataset"].unique().tolist() == ["my birds"]


def test_a_report_of_both_has_a_column_for_each_and_no_conflict(place, swept):
    both = collect(place / "runs", swept)
    assert set(both.runs["state"]) == {"finished"}
    codes = [identify("my birds", place / root).sha256[:8] for root in ("first", "second")]
    grid = Grid(both)
    assert [key.dataset for key in grid.columns] == [f"my birds ({code})" for code in codes]
    assert len(set(grid.column_names())) == 2
    assert [grid.cell("kd", key).n for key in grid.columns] == [1, 1]
    places = [f"cifar_resnet8 → cifar_resnet8 on my birds ({code})" for code in codes]
    assert grid.column_names() == places
    rows = [[cell.text for cell in row.cells] for row in cost(grid).rows]
    assert [row[0] for row in rows] == [place for place in places for _ in ("scratch", "kd")]


def test_the_record_says_which_images_with_which_classes_and_normalisation(place, swept):
    spec = planned(place)[1]
    record = RunDirectory.of(place / "runs", spec.experiment, spec.run_id).read_result()
    assert record["data"] == {
        "contents_sha256": identify("my birds", place / "first").sha256,
        "images": {"train": 10, "val": 2, "test": 12},
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "class_names": ["owl", "wren"],
        "normalisation": {
            "student": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            "teacher": None,
        },
    }
    manifest = json.loads(swept[0].read_text())
    assert {row["contents"] for row in manifest["runs"]} == {record["data"]["contents_sha256"]}


def test_a_finished_sweep_is_read_without_its_images(place, swept, tmp_path, capsys):
    shutil.copytree(place / "runs", tmp_path / "runs")
    assert command("status", "birds", "--runs-root", tmp_path / "runs") == 0
    assert "3 runs: 3 finished" in capsys.readouterr().out
    manifest = tmp_path / "runs" / "birds" / swept[0].name
    assert set(collect(tmp_path / "runs", manifest).runs["state"]) == {"finished"}


@pytest.mark.usefixtures("swept")
def test_a_run_whose_images_have_changed_since_is_refused_and_says_so(place, tmp_path, capsys):
    shutil.copytree(place / "first", tmp_path / "data")
    (tmp_path / "data" / "my birds" / "train" / "owl" / "0.png").unlink()
    config = place / "runs" / "birds" / planned(place)[1].run_id / "config.json"
    where = ("--runs-root", tmp_path, "--data-root", tmp_path / "data")
    assert command("train", config, *where, "--accelerator", "cpu", "--workers", 0) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "expected 2 classes, 12 train and 12 val images" in error
    assert "found 2 classes, 11 train and 12 val images" in error


def test_the_command_that_trains_one_run_fills_in_which_images(place, tmp_path):
    values = planned(place)[0].config.model_dump(mode="json")
    del values["data"]["contents"]
    (tmp_path / "run.json").write_text(json.dumps(values))
    where = ("--runs-root", tmp_path, "--data-root", place / "second")
    words = ("train", tmp_path / "run.json", *where, "--accelerator", "cpu", "--workers", 0)
    assert command(*words) == 0
    (record,) = (tmp_path / "single").glob("*/result.json")
    assert record.parent.name == planned(place, "second")[0].run_id


def test_predictions_of_a_teacher_are_kept_for_its_images_alone(tmp_path):
    def data(code, **more):
        found = FolderContents(sha256=code * 16, classes=2, images={"train": 4})
        return DataConfig(name="birds", contents=found, **more)

    directory = RunDirectory(tmp_path)
    kept = {"val": Predictions(np.array([0, 1, 1]))}
    predictions.save(directory, data("a"), kept)
    assert predictions.load(directory, data("a"))["val"].predicted.tolist() == [0, 1, 1]
    assert predictions.load(directory, data("b")) == {}
    assert predictions.load(directory, data("a", image_size=32)) == {}
    assert predictions.load(directory, data("a", classes=2)) == {}
