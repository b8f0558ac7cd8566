"""A picture that cannot be drawn is named with its reason; everything else stands."""

import os
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from synthetic_store import Store

from analysis import report as reports
from analysis.plots import column
from analysis.plots.style import End, label_ends
from analysis.report.picture import Picture, clear, draw, faults


def fine():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    return figure


def fails_when_drawn():
    raise KeyError("no such column")


def fails_when_saved():
    """matplotlib 3.11 ends with a bare StopIteration: an arrow to a place that is no number."""
    figure, axes = plt.subplots()
    arrow = {"arrowstyle": "-", "shrinkA": 1}
    axes.annotate(
        "x", (0.5, float("nan")), (0.7, float("nan")), arrowprops=arrow, annotation_clip=False
    )
    return figure


def test_an_error_ends_its_own_picture_only(tmp_path):
    wanted = [
        Picture("first", "One.", fails_when_drawn),
        Picture("second", "Two.", fails_when_saved),
        Picture("third", "Three.", fine),
        Picture("fourth", "Nothing to show.", lambda: None),
    ]
    shown = draw(wanted, tmp_path)
    assert [it.name for it in shown] == ["first", "second", "third"]
    assert [it.fault for it in shown] == ["KeyError: 'no such column'", "StopIteration", ""]
    assert {path.name for it in shown for path in it.files} >= {"third.pdf", "third.png"}
    assert "fails_when_drawn" in (tmp_path / "first.error.txt").read_text()
    assert all(path.is_file() for it in shown for path in it.files)
    assert faults(shown)[0] == "figure first could not be drawn: KeyError: 'no such column'"


def test_files_of_earlier_pictures_and_faults_do_not_stay(tmp_path):
    draw([Picture("a", "", fine), Picture("b", "", fails_when_drawn)], tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_names_a_picture_that_failed_and_holds_the_others(finished, tmp_path, monkeypatch):
    def broken(of):
        raise ArithmeticError(f"cannot draw <{of.key.pair}>")

    known = column.figures()
    assert known[0].name == "curves"
    monkeypatch.setattr(column, "figures", lambda: (replace(known[0], draw=broken), *known[1:]))
    report = reports.build(finished.root, finished.manifest, tmp_path)
    line = "figure curves could not be drawn: ArithmeticError: cannot draw <teacher/student>"
    assert line in str(report)
    page = report.index.read_text()
    assert "could not be drawn: ArithmeticError: cannot draw &lt;teacher/student&gt;" in page
    assert page.count("<svg ") >= 5
    assert (tmp_path / "figures" / "cost.pdf").is_file()
    assert not (tmp_path / "figures" / "curves.pdf").exists()


def test_a_worker_draws_what_one_process_draws(tmp_path, monkeypatch):
    store = Store(tmp_path / "runs")
    for pair in ("teacher/first", "teacher/second", "teacher/third"):
        for seed in range(2):
            store.finish(store.add("kd", seed, pair), features=False)
    store.write_manifest()
    contents = []
    for cores in (1, 2):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        out = tmp_path / f"report{cores}"
        made = reports.build(store.root, store.manifest, out)
        contents.append({path.relative_to(out): path.read_bytes() for path in made.files})
        assert not [*(out / "figures").glob(".*")]  # what waited for the worker
    drawn = {path.stem for path in contents[0] if path.suffix == ".svg"}
    assert {"curves-1", "curves-2", "curves-3"} <= drawn
    assert contents[0] == contents[1]


def test_a_label_without_a_place_is_named():
    figure, axes = plt.subplots()
    with pytest.raises(ValueError, match="no finite value to write kd at"):
        label_ends(axes, [End("dkd", 1.0, "red"), End("kd", float("nan"), "red")])
    plt.close(figure)
