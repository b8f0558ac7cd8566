"""runs.csv and features.csv: a row a run, a row a run and metric, one value a cell."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from synthetic_store import Store, digits

from analysis.feature_gap.gap import NO_GAPS, gaps
from analysis.feature_gap.metrics import METRICS
from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables import all_tables, runs
from analysis.tables.forms import tidy
from analysis.tables.forms.csv_table import to_csv
from analysis.tables.inputs import Inputs


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Three methods, three seeds, with features."""
    store = digits(tmp_path_factory.mktemp("runs"), labels=("scratch", "kd", "dskd"))
    collected = collect(store.root, store.manifest)
    return collected, gaps(collected)


def test_a_run_that_stands_in_two_pairs_is_one_row_and_names_neither(tmp_path):
    store = Store(tmp_path)
    for pair in ("a/student", "b/student"):
        for label in ("scratch", "kd"):
            entry = store.add(label, 0, pair)
            store.finish(entry, 90.0, features=False)
    collected = collect(store.root, store.write_manifest())
    assert len(collected.runs) == 4
    rows = pd.read_csv(runs.write(collected, tmp_path / "runs.csv"))
    assert rows["run_id"].is_unique
    shown = rows[["label", "pair", "pairs"]].fillna("").to_dict("split")["data"]
    assert shown == [["scratch", "", 2], ["kd", "a/student", 1], ["kd", "b/student", 1]]


def test_what_is_nested_has_columns_of_its_own_and_nothing_starts_a_formula(tmp_path):
    frame = pd.DataFrame(
        {
            "versions": ['{"torch": "2.6", "own": "=1"}', None, '{"torch": "2.7"}'],
            "mean": [[0.5, 0.25], [], [0.125]],
            "text": ["[not JSON", "plain", "@x"],
            "number": [1.5, np.nan, -2.0],
        }
    )
    text = tidy.write(frame, tmp_path / "frame.csv").read_text()
    assert text.splitlines() == [
        "versions/torch,versions/own,mean/0,mean/1,text,number",
        "2.6,'=1,0.5,0.25,[not JSON,1.5",
        ",,,,plain,",
        "2.7,,0.125,,'@x,-2.0",
    ]


def test_more_rows_than_are_written_at_a_time_have_one_header(tmp_path, monkeypatch):
    monkeypatch.setattr(tidy, "ROWS", 2)
    frame = pd.DataFrame({"name": list("abcde"), "list": [[1], None, [2], [3], None]})
    rows = pd.read_csv(tidy.write(frame, tmp_path / "frame.csv"))
    assert list(rows) == ["name", "list/0"]
    assert rows["list/0"].fillna(0).tolist() == [1, 0, 2, 3, 0]


def test_a_run_and_metric_is_a_row_of_features(measured, tmp_path):
    collected, found = measured
    rows = pd.read_csv(runs.write_features(found, tmp_path / "features.csv"))
    assert list(rows) == runs.OF_A_FEATURE_ROW
    assert not rows.duplicated(["run_id", "pair", "view", "metric"]).any()
    assert set(rows["metric"]) == set(METRICS)
    assert set(rows["run_id"]) == set(collected.students()["run_id"])
    own = found.runs[found.runs["label"] == "kd"].set_index("run_id")
    kd = rows[(rows["label"] == "kd") & (rows["metric"] == "cka")].set_index("run_id")
    assert len(kd) == 3
    for run_id, row in kd.iterrows():
        assert row["value"] == pytest.approx(own.loc[run_id, "cka"])
        assert row["image_sd"] == pytest.approx(own.loc[run_id, "cka/image_sd"])
    assert rows.loc[rows["metric"] == "angle", "image_sd"].isna().all()


def test_without_features_there_is_the_header_alone(tmp_path):
    text = runs.write_features(NO_GAPS, tmp_path / "features.csv").read_text()
    assert text == ",".join(runs.OF_A_FEATURE_ROW) + "\n"


def test_every_table_of_a_report_is_numbers_or_names_and_never_several_values_in_a_cell(measured):
    collected, found = measured
    names = []
    for table in all_tables(Inputs(Grid(collected), found)):
        names.append(table.name)
        text = to_csv(table)
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        headers = next(csv.reader(io.StringIO(text)))
        assert len(set(headers)) == len(headers), table.name
        for header in frame:
            for text in frame[header]:
                where = f"{table.name}: {header}: {text}"
                assert not set(text) & set("±−–†*["), where
                assert not text.startswith(("=", "+", "@", "\t")), where
            if header.startswith("p ") or header == "p" or header.endswith(" p"):
                stem = header.removesuffix(" raw")
                assert f"{stem} raw" in frame, header
    assert {"accuracy", "differences", "comparisons", "cost", "gap", "gap-intervals"} <= set(names)
