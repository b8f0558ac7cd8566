"""`dskd-bench probe` and `dskd-bench robustness` on the runs of a real sweep."""

import json
import shutil

import numpy as np
import pytest
from command_line import finished_sweep
from command_line import in_process as run
from PIL import Image
from small_pictures import TRAIN, VAL, write_hub

from analysis.runs.collect import collect
from analysis.runs.evaluations import Evaluations
from analysis.runs.grid import Grid
from suite.config import Columns, Runtime
from suite.data import DataError, load
from suite.evaluation.finished import read
from suite.store.record import RunDirectory
from suite.train.evaluate import evaluate

SETTINGS = (
    "pairs=[cifar_resnet14/cifar_resnet8] data.name=fake image_size=8 train_limit=64 epochs=1 "
    "seeds=[0,1] methods=[scratch,kd,simkd]"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A sweep of a few seconds: a teacher, and three methods with two seeds."""
    return finished_sweep(tmp_path_factory.mktemp("runs"), SETTINGS)


def probe(capsys, root, *more, data="digits"):
    words = ("--set", SETTINGS, "--data", data, "--epochs", "4", "--runs-root", root)
    return run(capsys, "probe", "dskd_digits", *words, "--accelerator", "cpu", *more)


def files(root, kind):
    return {path: path.read_bytes() for path in sorted(root.rglob(f"{kind}-*.json"))}


def test_every_finished_run_is_probed_once_and_a_repeat_gives_the_same_bytes(capsys, root):
    records = {path: path.read_bytes() for path in root.rglob("result.json")}
    status, out, err = probe(capsys, root)
    assert status == 0, err
    assert "7 runs measured, 0 were there already" in out
    first = files(root, "probe")
    assert len(first) == 7
    status, out, _ = probe(capsys, root)
    assert (status, files(root, "probe")) == (0, first)
    assert "0 runs measured, 7 were there already" in out
    for path in first:
        path.unlink()
    assert "7 runs measured" in probe(capsys, root)[1]
    assert files(root, "probe") == first
    assert {path: path.read_bytes() for path in root.rglob("result.json")} == records


def test_the_table_has_the_mean_over_seeds_of_what_the_files_say(capsys, root):
    probe(capsys, root)
    (manifest,) = root.glob("dskd_digits/manifest*.json")
    found = Evaluations.of(Grid(collect(root, manifest)), "probe")
    (column,), (protocol,) = found.grid.columns, found.protocols
    scores = found.cell("kd", column, protocol, "top1_percent").scores
    of_kd = [
        json.loads(content)["figures"]["top1_percent"]
        for path, content in files(root, "probe").items()
        if json.loads((path.parent / "result.json").read_text())["label"] == "kd"
    ]
    assert sorted(scores) == sorted(of_kd)
    assert len(found.of_teachers(column, protocol, "top1_percent")) == 1
    _, out, _ = probe(capsys, root)
    assert f"{sum(of_kd) / 2:.2f} ± " in out
    assert "learning rate 0.1 times 0.1 after epochs 1, 2, 4" in out


def test_the_images_may_lie_in_parquet_files_whose_columns_are_named(capsys, root, tmp_path):
    columns = Columns("img", "fine_label")
    write_hub(tmp_path / "birds", "train", TRAIN, columns=columns)
    write_hub(tmp_path / "birds", "test", VAL, columns=columns)
    words = ("--data-root", tmp_path, "--workers", "0", "--image-column", "img")
    status, _, err = probe(capsys, root, *words, data="birds")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "has no column 'label' (data.label_column); its columns are img, fine_label" in err
    status, out, err = probe(capsys, root, *words, "--label-column", "fine_label", data="birds")
    assert status == 0, err
    assert "7 runs measured, 0 were there already" in out
    for path, content in files(root, "probe").items():
        if (figures := json.loads(content))["protocol"]["data"] == "birds":
            assert figures["figures"]["train_images"] == len(TRAIN)
            path.unlink()


def test_another_protocol_lies_beside_the_first(capsys, root):
    probe(capsys, root)
    before = files(root, "probe")
    status, out, _ = probe(capsys, root, "--lr", "0.01")
    assert status == 0
    assert "7 runs measured" in out
    assert "digits (" in out  # told apart by their ids
    after = files(root, "probe")
    assert len(after) == 14
    assert before.items() <= after.items()
    for path in after.keys() - before.keys():
        path.unlink()


def test_a_run_that_is_read_again_is_right_as_often_as_its_record_says(root):
    runtime = Runtime(runs_root=root, accelerator="cpu", tracker="none")
    for path in root.rglob("result.json"):
        record = json.loads(path.read_text())
        network = read(RunDirectory(path.parent), runtime)
        images = load(network.spec.config.data, runtime.data_root).evals["test"]
        figures = evaluate(network.fabric, network.deployed, images).figures
        assert figures["top1_percent"] == record["last"]["test/top1_percent"], record["label"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data": "digit"}, "unknown data set 'digit' (did you mean digits?)"),
        ({"data": "imagenet"}, "imagenet/train: is not there"),
    ],
)
def test_other_data_that_are_not_there_are_refused_in_one_line(capsys, root, more, message):
    status, _, err = probe(capsys, root, **more)
    assert (status, len(err.splitlines())) == (2, 1)
    assert message in err


def test_a_learning_rate_of_nothing_and_an_experiment_without_runs_are_refused(capsys, root):
    status, _, err = probe(capsys, root, "--lr", "0")
    assert status == 2
    assert "lr: Input should be greater than 0 (given: 0.0)" in err
    status, _, err = run(
        capsys, "probe", "dskd_cifar", "--data", "digits", "--runs-root", root, "--threads", "1"
    )
    assert status == 2
    assert "no manifest" in err
    assert "start the sweep once" in err


def test_a_run_whose_weights_are_damaged_is_told_and_the_others_are_measured(capsys, root):
    probe(capsys, root)
    path, content = next(iter(files(root, "probe").items()))
    path.unlink()
    weights = path.with_name("weights.safetensors")
    kept = weights.read_bytes()
    weights.write_bytes(kept[: len(kept) // 2])
    status, out, _ = probe(capsys, root)
    weights.write_bytes(kept)
    assert status == 1
    assert f"run {path.parent.name}: " in out
    assert "0 runs measured, 6 were there already, 1 failed" in out
    assert probe(capsys, root)[0] == 0
    assert path.read_bytes() == content


def test_an_image_folder_is_probed_at_the_size_of_the_network(capsys, root, tmp_path):
    pixels = np.random.default_rng(0)
    for place in ("train/owl", "train/wren", "val/owl", "val/wren"):
        (tmp_path / "birds" / place).mkdir(parents=True)
        for number in range(3):
            image = pixels.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "birds" / place / f"{number}.png")
    before = files(root, "probe")
    more = ("--data-root", tmp_path, "--workers", "0")
    status, _, err = probe(capsys, root, *more, data="birds")
    assert status == 0, err
    made = [json.loads(it) for path, it in files(root, "probe").items() if path not in before]
    assert len(made) == 7
    assert {it["protocol"]["image_size"] for it in made} == {8}
    assert {it["figures"]["train_images"] for it in made} == {6}  # those that would validate, too
    assert len({it["protocol"]["contents_sha256"] for it in made}) == 1
    for path in files(root, "probe").keys() - before.keys():
        path.unlink()


def test_what_was_measured_travels_with_an_archive(capsys, root, tmp_path):
    probe(capsys, root)
    out = tmp_path / "digits.zip"
    status, _, err = run(capsys, "export", "dskd_digits", "--out", out, "--runs-root", root)
    assert status == 0, err
    assert run(capsys, "merge", out, "--into", tmp_path / "there")[0] == 0
    ours, theirs = (
        {path.relative_to(place): it for path, it in files(place, "probe").items()}
        for place in (root, tmp_path / "there")
    )
    assert ours == theirs


def robustness(capsys, root, *more):
    words = ("--set", SETTINGS, "--runs-root", root, "--accelerator", "cpu", *more)
    return run(capsys, "robustness", "dskd_digits", *words)


def test_images_that_are_missing_are_looked_for_once_and_named_once(
    capsys, root, tmp_path, monkeypatch
):
    looked = []

    def gone(config, _runtime):
        looked.append(config.name)
        raise DataError("the images are gone")

    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    for path in files(copy, "robustness"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("suite.evaluation.robustness._test_images", gone)
        status, out, _ = robustness(capsys, copy)
    assert (status, looked) == (1, ["fake"])
    assert out.count("the images are gone") == 1
    assert out.count("cannot be measured for the same reason") == 6
    assert "0 runs measured, 0 were there already, 7 failed" in out
    assert "Corrupted test images" not in out  # no table of nothing


def test_every_finished_run_is_tested_under_corruptions_once(capsys, root):
    status, out, err = robustness(capsys, root)
    assert status == 0, err
    assert "7 runs measured, 0 were there already" in out
    first = files(root, "robustness")
    assert len(first) == 7
    for path, content in first.items():
        figures = json.loads(content)["figures"]
        record = json.loads((path.parent / "result.json").read_text())
        assert figures["clean_top1_percent"] == record["last"]["test/top1_percent"]
        single = [it for kind in figures["corruptions"].values() for it in kind.values()]
        assert len(single) == 9 * 5
        assert figures["top1_percent"] == pytest.approx(sum(single) / len(single))
    assert "0 runs measured, 7 were there already" in robustness(capsys, root)[1]
    next(iter(first)).unlink()
    assert "1 runs measured, 6 were there already" in robustness(capsys, root)[1]
    assert files(root, "robustness") == first


def test_the_report_has_tables_and_a_figure_of_what_was_measured(capsys, root, tmp_path):
    probe(capsys, root)
    robustness(capsys, root)
    words = ("--set", SETTINGS, "--runs-root", root, "--out", tmp_path)
    status, _, err = run(capsys, "report", "dskd_digits", *words)
    assert status == 0, err
    for name in ("probe", "robustness"):
        assert "simkd" in (tmp_path / "tables" / f"{name}.md").read_text()
    assert (tmp_path / "figures" / "robustness.pdf").is_file()
    page = (tmp_path / "index.html").read_text()
    assert "mean over 9 corruptions (gaussian noise, shot noise" in page
