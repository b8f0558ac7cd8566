"""What runs predict for single images, in tables: counted by hand."""

import json

import numpy as np
import pytest

from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.differences import differences
from analysis.tables.inputs import Inputs
from analysis.tables.over_pairs import tables as over_pairs
from analysis.tables.single_images import tables
from suite.config import DataConfig
from suite.store import predictions
from suite.store.predictions import Predictions
from suite.store.record import RunDirectory

LABEL = np.array([0, 0, 1, 1])
PREDICTED = {
    "scratch": ([0, 1, 0, 0], [0, 1, 1, 0]),  # 25 and 50 % right
    "kd": ([0, 0, 1, 0], [0, 1, 1, 1]),  # 75 and 75 %
}


def keep(store, directory, predicted, **more):
    run = RunDirectory(store.root / directory)
    run.path.mkdir(parents=True, exist_ok=True)
    nll = np.where(np.array(predicted) == LABEL, 0.25, 2.0)
    made = Predictions(np.array(predicted), LABEL, np.full(4, 0.75), nll, **more)
    predictions.save(run, DataConfig(name="digits"), {"test": made})


@pytest.fixture
def inputs(store):
    for label, runs in PREDICTED.items():
        for seed, predicted in enumerate(runs):
            entry = store.add(label, seed)
            right = 100 * float((np.array(predicted) == LABEL).mean())
            store.finish(entry, right, features=False)
            more = {"teacher_kl": np.full(4, 0.5)} if label == "kd" else {}
            keep(store, entry["directory"], predicted, **more)
    keep(store, f"teachers/{store.teacher_id('net_teacher')}", [0, 0, 1, 1])
    return Inputs(Grid(collect(store.root, store.write_manifest())), None)


def cells(table, method):
    return next(
        [cell.text for cell in row.cells]
        for row in table.rows
        if method in (row.method, row.cells[0].text)
    )


def test_calibration_and_fidelity_of_every_method(inputs):
    made = {table.name: table for table in tables(inputs)}
    assert list(made) == ["probabilities", "gained", "classes-0", "images-0"]
    # all confidences are 0.75, accuracies 0.75 and 0.75; of scratch 0.25 and 0.5
    kd = cells(made["probabilities"], "kd")
    assert kd[:4] == ["kd", "2", "0.0 ± 0.0", "0.0 ± 0.0"]
    assert kd[4:] == ["0.688 ± 0.000", "75.0 ± 0.0", "0.500 ± 0.000"]
    scratch = cells(made["probabilities"], "scratch")
    assert scratch[2] == "37.5 ± 17.7"
    assert scratch[5:] == ["–", "–"]  # it has no teacher


def test_an_ensemble_has_no_predictions_of_its_own_and_the_record_says_the_agreement(store):
    for seed, agreement in enumerate([70.0, 80.0]):
        entry = store.add("kd", seed)
        path = store.root / entry["directory"] / "result.json"
        result = store.finish(entry, 75.0, features=False)
        result["teacher"]["run_id"] = "0123456789abcdef"  # that of no run in the store
        result["last"]["test/agreement_percent"] = agreement
        path.write_text(json.dumps(result))
        keep(store, entry["directory"], [0, 1, 1, 1], teacher_kl=np.full(4, 0.5))
    made = {
        it.name: it
        for it in tables(Inputs(Grid(collect(store.root, store.write_manifest())), None))
    }
    assert cells(made["probabilities"], "kd")[-2:] == ["75.0 ± 7.1", "0.500 ± 0.000"]


def test_gained_and_lost_images_stand_beside_what_seeds_change(inputs):
    made = {table.name: table for table in tables(inputs)}
    # right shares of kd: 1, 1/2, 1, 1/2; of scratch: 1, 0, 1/2, 0
    assert cells(made["gained"], "kd") == ["kd", "scratch", "37.50", "0.00", "+37.50", "12.50"]
    assert [cell.text for cell in made["classes-0"].rows[1].cells] == ["1", "2", "25.0", "75.0"]
    assert [cell.text for cell in made["images-0"].rows[2].cells] == ["2", "1", "50", "100"]


def test_the_table_of_differences_reaches_other_test_images(inputs):
    table = differences(inputs)
    assert "and other test images" in [column.header for column in table.columns]


def test_over_pairs_has_the_interquartile_mean_and_ranks(store):
    for pair, base in (("a/s", 70.0), ("b/t", 50.0)):
        for label, gain in (("scratch", 0.0), ("kd", 2.0), ("dkd", 1.0)):
            for seed, off in enumerate((-0.5, 0.0, 0.5)):
                store.finish(store.add(label, seed, pair=pair), base + gain + off, features=False)
    (table,) = over_pairs(Inputs(Grid(collect(store.root, store.write_manifest())), None))
    assert cells(table, "kd")[1].startswith("+2.00 [")
    assert cells(table, "kd")[2:] == ["2.00", "100", "1.00"]
    assert cells(table, "dkd")[4] == "2.00"
