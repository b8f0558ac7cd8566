"""The worked examples of docs/extending.md: a metric of the gap, a figure and a table."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis import plots, tables
from analysis import report as reports
from analysis.feature_gap import metrics
from analysis.plots import column
from analysis.runs.collect import collect
from analysis.runs.grid import Grid
from analysis.tables.inputs import Inputs

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def example(heading):
    """The first block of Python under a heading of the page."""
    section = PAGE.read_text().partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


@pytest.fixture
def neighbours():
    exec(example("A metric of the gap"), vars(metrics) | {"np": np})
    yield
    del metrics.METRICS["neighbours"]


@pytest.fixture
def figure(tmp_path, monkeypatch):
    """The file lies in a folder that counts as one of ``analysis.plots``."""
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "accuracy_of_runs.py").write_text(example("A figure of the report"))
    monkeypatch.setattr(plots, "__path__", [*plots.__path__, str(tmp_path / "plots")])
    column.figures.cache_clear()
    yield
    column.figures.cache_clear()
    sys.modules.pop("analysis.plots.accuracy_of_runs", None)


@pytest.mark.usefixtures("neighbours", "figure")
def test_a_new_metric_and_a_new_figure_are_in_the_report(store, tmp_path):
    for label in ("scratch", "kd"):
        store.finish(store.add(label, 0))
    made = reports.build(store.root, store.write_manifest(), tmp_path / "report")
    assert made.faults == ()
    folder = tmp_path / "report" / "tables"
    assert "nearest neighbours" in (folder / "gap.md").read_text().splitlines()[2]
    assert "nearest neighbours" in (folder / "gap-differences.md").read_text().splitlines()[2]
    assert (tmp_path / "report" / "figures" / "accuracy-of-runs.pdf").is_file()
    page = made.index.read_text()
    assert "accuracy on the test split: 2 runs of 2 methods, seed 0; a dot is a run." in page


def test_a_new_table_takes_its_place_in_the_report(store, tmp_path, monkeypatch):
    (tmp_path / "ranges.py").write_text(example("A table of the report"))
    monkeypatch.setattr(tables, "__path__", [*tables.__path__, str(tmp_path)])
    for seed, score in enumerate((90.0, 92.5)):
        store.finish(store.add("kd", seed), score, features=False)
    grid = Grid(collect(store.root, store.write_manifest()))
    module = next(it for it in tables.modules() if it.__name__ == "analysis.tables.ranges")
    (table,) = module.tables(Inputs(grid, None))
    assert [cell.text for cell in table.rows[0].cells] == ["kd", "2.50"]
    names = [it.__name__.rpartition(".")[2] for it in tables.modules()]
    assert names[:3] == ["accuracy", "ranges", "holes"]
    sys.modules.pop("analysis.tables.ranges", None)
