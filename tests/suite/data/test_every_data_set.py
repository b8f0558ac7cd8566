"""The contract, over all data sets: the suite's files and what installed packages add."""

import os
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import worked_example

from suite.config import DataConfig, RunSpec, Runtime
from suite.data import DataError, describe, load, modules, names, sets
from suite.data.source import Source
from suite.data.testing import check
from suite.store.provenance import code_of_run
from suite.store.record import RunDirectory
from suite.train.run import run

ROOT = Path(os.environ.get("DSKD_DATA_ROOT", "data"))


@pytest.mark.parametrize("name", sets.names())
def test_a_data_set_keeps_the_contract(name):
    folder = sets.find(name).folder(ROOT)
    if folder is not None and not folder.is_dir():
        pytest.skip(f"needs the files of {name} in {folder}")
    check(name, ROOT)


@pytest.fixture
def stripes(tmp_path, monkeypatch):
    name = worked_example.install("A data set in memory: one file", tmp_path, monkeypatch)
    sets._installed.cache_clear()
    yield name
    sets._installed.cache_clear()


def test_the_worked_example_of_the_docs_is_found_keeps_the_contract_and_trains(stripes, tmp_path):
    check(stripes, tmp_path)
    assert stripes in names()
    assert describe(stripes, tmp_path) == ("2", "240 / 60 / 100", "1x12x12", "none needed")
    config = {
        "data": {"name": stripes},
        "student": {"name": "cifar_resnet8"},
        "method": "scratch",
        "optimizer": {"lr": 0.1},
        "train": {"epochs": 2},
    }
    spec = RunSpec(config=config, experiment="e", label="scratch")
    runtime = Runtime(runs_root=tmp_path, accelerator="cpu", tracker="none")
    run(spec, runtime)
    record = RunDirectory.of(tmp_path, "e", spec.run_id).read_result()
    assert record["last"]["test/top1_percent"] > 75
    assert "my_package.stripes" in record["provenance"]["source_modules"]


def test_the_module_of_a_data_set_is_behind_its_runs_and_no_others():
    assert modules("digits") == ("suite.data.sets.digits",)
    assert modules("imagefolder") == ()
    behind = code_of_run("kd", modules("cifar100"))
    assert {"suite.data.sets.cifar100", "suite.data.cifar"} <= set(behind)
    assert not {"suite.data.sets.digits", "suite.data.sets.cifar10"} & set(behind)


def offer(monkeypatch, name, target):
    point = EntryPoint(name, target, sets.ENTRY_POINT_GROUP)
    monkeypatch.setattr(sets, "_installed", lambda: {point.name: point})


def test_an_entry_point_that_is_no_data_set_is_refused(monkeypatch):
    offer(monkeypatch, "theirs", "suite.data.sets.fake:read")
    with pytest.raises(DataError, match=r"data set theirs: suite\.data\.sets\.fake:read is no"):
        sets.find("theirs")


def test_a_package_cannot_take_the_name_of_a_data_set_of_the_suite(monkeypatch):
    offer(monkeypatch, "digits", "suite.data.sets.fake:SOURCE")
    with pytest.raises(DataError, match="takes the name of a data set of the suite"):
        sets.find("digits")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 1}, r"Source\.num_classes 1: must be 2 or more"),
        ({"validation_images": 640}, r"Source\.validation_images 640: must be fewer than the 640"),
        ({"mean": (0.5,)}, r"Source\.mean \(0\.5,\): must be 3 finite numbers"),
        ({"std": (0.25, 0.0, 0.25)}, r"Source\.std .*: must be above 0"),
    ],
)
def test_fields_out_of_range_are_refused_where_the_data_set_is_defined(fields, message):
    with pytest.raises(DataError, match=message):
        replace(sets.find("fake"), **fields)


def test_fields_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        Source(10, 640, 128, 200, 16, 3, (0.5,) * 3, (0.25,) * 3, True, print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images[1:], labels[1:]), r"its images are .*\(639, 3, 16, 16\)"),
        (lambda images, labels: (images.float(), labels), r"its images are torch\.float32"),
        (lambda images, labels: (images, labels.int()), r"its labels are torch\.int32"),
        (
            lambda images, labels: (images, labels + 1),
            r"its labels go from 1 to 10, expected 0 to 9",
        ),
    ],
)
def test_what_is_read_must_be_what_the_fields_say(change, message, monkeypatch, tmp_path):
    fake = sets.find("fake")
    other = replace(fake, read=lambda root, train: change(*fake.read(root, train)))
    monkeypatch.setattr(sets, "find", lambda _: other)
    with pytest.raises(DataError, match=f"data set fake, training part: {message}"):
        load(DataConfig(name="fake"), tmp_path)


def test_the_contract_finds_data_that_change_from_reading_to_reading(monkeypatch, tmp_path):
    fake = sets.find("fake")
    drawn = replace(
        fake,
        read=lambda root, train: (
            torch.randint_like(fake.read(root, train)[0], 256),
            fake.read(root, train)[1],
        ),
    )
    monkeypatch.setattr(sets, "find", lambda _: drawn)
    with pytest.raises(AssertionError, match="reading twice gives other images"):
        check("fake", tmp_path)
