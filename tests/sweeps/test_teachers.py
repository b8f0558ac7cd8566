"""Sweeps with teachers of other kinds than one network of the suite's, to their reports."""

import json

import timm
import yaml
from command_line import in_process
from contract_networks import VIT
from numpy import load
from safetensors.torch import save_file

from suite.interface.rng import seeded_globals

SIZES = {**VIT, "patch_size": 4, "img_size": 16}


def sweep(capsys, folder, experiment, *words):
    """(status, output, records by label) of a sweep with its report."""
    (folder / "mine.yaml").write_text(yaml.safe_dump(experiment))
    status, out, errors = in_process(
        capsys,
        *("sweep", folder / "mine.yaml", f"--runs-root={folder / 'runs'}", "--tracker=none"),
        *("--executor=in_process", "--accelerator=cpu", "--threads=1", *words),
    )
    files = (folder / "runs").glob("mine/*/result.json")
    records = [json.loads(file.read_text()) for file in files]
    return status, out + errors, {record["label"]: record for record in records}


def experiment(pairs, methods, models, **more):
    return {
        "recipe": "digits",
        "pairs": pairs,
        "methods": methods,
        "models": models,
        "seeds": [0],
        "data": {"name": "fake", "train_limit": 128},
        "train": {"epochs": 2},
        **more,
    }


def weights_of(name, path, **options):
    """A file of random weights of a network."""
    with seeded_globals(1, name):
        save_file(timm.create_model(name, **options).state_dict(), path)
    return str(path)


def test_a_teacher_without_a_classifier_teaches_features_from_sweep_to_report(tmp_path, capsys):
    file = weights_of("vit_tiny_patch16_224", tmp_path / "vit.safetensors", **SIZES)
    eyes = {
        "name": "vit_tiny_patch16_224",
        "checkpoint": file,  # with a classifier of 1000 classes, which is of no use here
        "options": {**SIZES, "num_classes": 0},
    }
    rows = [
        "scratch",
        "kd",
        "crd",
        "vkd",
        {"name": "vkd", "label": "no", "options": {"kd_weight": 0}},
    ]
    wanted = experiment(["eyes/cifar_resnet8"], rows, {"eyes": eyes})
    status, out, records = sweep(capsys, tmp_path, wanted)
    assert status == 2, out
    assert "left out: kd: method kd reads the logits of its teacher or its classifier, and" in out
    assert "left out: vkd: method vkd reads the logits" in out
    assert (
        "(options.num_classes 0); with their default options these methods need none: at, " in out
    )
    assert set(records) == {"scratch", "crd", "no"}
    teacher = records["crd"]["teacher"]
    assert teacher["name"] == "vit_tiny_patch16_224"
    assert not any(name.endswith("top1_percent") for name in teacher)
    assert not any(name.endswith("agreement_percent") for name in records["crd"]["last"])
    kept = load(tmp_path / "runs" / "mine" / records["crd"]["run_id"] / "features.npz")
    assert kept["heldout/teacher_pooled"].shape[1:] == (VIT["embed_dim"],)
    assert "heldout/teacher_logits" not in kept
    tables = tmp_path / "runs" / "mine" / "report" / "tables"
    rows = (tables / "accuracy.md").read_text().splitlines()
    (row,) = (row for row in rows if row.startswith("| teacher"))
    assert not any(character.isdigit() for character in row)
    assert "crd" in (tables / "gap.md").read_text()


def test_a_network_to_be_trained_needs_its_classifier(tmp_path, capsys):
    models = {"bare": {"name": "cifar_resnet8", "options": {"num_classes": 0}}}
    wanted = experiment(["bare/cifar_resnet8"], ["fitnet"], models)
    status, out, records = sweep(capsys, tmp_path, wanted, "--no-report")
    assert (status, records) == (2, {})
    assert "options.num_classes is that of the data; leave it out (given: 0; 0 is for a" in out


def test_an_ensemble_of_trained_and_foreign_networks_teaches_from_sweep_to_report(tmp_path, capsys):
    classes = {"num_classes": 10, "in_chans": 3}
    file = weights_of("cifar_vgg8", tmp_path / "vgg8.safetensors", **classes)
    own = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 0.5, 0.25]}
    models = {
        "theirs": {"name": "cifar_vgg8", "checkpoint": file, "normalisation": own},
        "small": {"name": "cifar_resnet8", "teacher": "middle"},
        "middle": {"name": "cifar_resnet14"},
        "both": {"ensemble": ["theirs", "small"]},
    }
    rows = ["scratch", "kd", "fitnet", "kd+dkd", "dskd"]
    pairs = ["both/cifar_resnet8"]
    wanted = experiment(pairs, rows, models)
    status, out, records = sweep(capsys, tmp_path, wanted)
    assert status == 2, out
    assert "left out: fitnet: method fitnet reads features of its teacher, and the ensemble" in out
    assert "with their default options these methods read no more: ctkd, dist, dkd, kd" in out
    assert "left out: dskd: method dskd reads" in out
    assert "teacher cifar_vgg8: " in out
    assert set(records) == {"scratch", "kd", "kd+dkd"}
    place = tmp_path / "runs" / "mine" / records["kd"]["run_id"]
    config = json.loads((place / "config.json").read_text())
    teacher = config["config"]["teacher"]
    assert teacher["name"] == "cifar_vgg8+cifar_resnet8"
    theirs, small = teacher["ensemble"]
    assert (theirs["checkpoint"], theirs["run_id"]) == (file, None)
    assert (theirs["normalisation"]["mean"], small.get("normalisation")) == (own["mean"], None)
    middle = json.loads(
        (tmp_path / "runs" / "teachers" / small["run_id"] / "config.json").read_text()
    )["config"]["teacher"]["run_id"]
    assert (config["teacher_seed"], config["ancestors"]) == (0, [middle])
    record = records["kd"]["teacher"]
    assert record["run_id"] == small["run_id"]
    assert records["kd"]["data"]["normalisation"]["teacher"][0] == own
    kept = load(place / "features.npz")
    assert "heldout/teacher_pooled" not in kept
    mean = kept["heldout/teacher_logits"]
    split = str(kept["heldout_split"])
    hits = 100 * (mean.argmax(1) == kept["heldout/label"]).mean()
    assert abs(hits - record[f"{split}/top1_percent"]) < 1e-6
    assert f"{split}/agreement_percent" in records["kd"]["last"]
    report = (tmp_path / "runs" / "mine" / "report" / "tables" / "accuracy.md").read_text()
    (row,) = (row for row in report.splitlines() if row.startswith("| teacher"))
    assert f"{record['test/top1_percent']:.2f} (1)" in row
