"""The report of a search, from a record written by hand."""

import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    IntDistribution,
    distribution_to_json,
)

from analysis.plots.style import COLUMN_INCHES, height_for
from analysis.search import plots
from analysis.search.report import best_trials, build, pictures
from analysis.search.study import SearchRecordError, Study, read
from analysis.statistics.tuning import expected_best

SPACE = {
    "steps": IntDistribution(1, 20),
    "bits": IntDistribution(16, 1024, log=True),
    "anchor": CategoricalDistribution(["kl", "ce"]),
}


def trial(number, state, accuracy, params, **more):
    values = None if accuracy is None else [accuracy, *more.pop("second", [])]
    return {
        "number": number,
        "state": state,
        "params": params,
        "values": values,
        "intermediate": {"5": 10.0, "10": accuracy} if accuracy else {},
        "runs": [],
        "train_seconds": 2.0,
        "failure": None,
        "defaults": number == 0,
        "started": None,
        "ended": None,
        **more,
    }


def record(tmp_path, trials, best, front=()):
    content = {
        "search": "mine",
        "command": "make search EXP=mine",
        "note": "A note.",
        "settings": {
            "pair": "teacher/student",
            "seeds": [1000],
            "budget": {"trials": 30, "hours": None},
            "objective": {"epoch": "last", "second": None},
            "sampler": {"name": "tpe"},
            "pruner": {"name": "hyperband"},
        },
        "studies": [
            {
                "method": "dskd",
                "study": "mine/dskd@0",
                "study_sha256": "0" * 64,
                "space": {k: json.loads(distribution_to_json(v)) for k, v in SPACE.items()},
                "epochs": 10,
                "best_trial": best,
                "front": list(front),
                "trials": trials,
            }
        ],
    }
    path = tmp_path / "search.json"
    path.write_text(json.dumps(content))
    return path


def some_trials():
    """Accuracy grows with the logarithm of bits alone; trial 24 is the best."""
    found = []
    for number in range(25):
        steps, bits = 1 + number % 5 * 4, 16 * 2 ** (number // 5)
        params = {"steps": steps, "bits": bits, "anchor": ["kl", "ce"][number % 2]}
        found.append(trial(number, "complete", 80 + math.log2(bits) + 0.001 * number, params))
    params = {"steps": 3, "bits": 20, "anchor": "kl"}
    return [*found, trial(25, "pruned", 31.0, params), trial(26, "failed", None, params)]


def test_importance_finds_the_one_parameter_that_matters(tmp_path):
    _, (study,) = read(record(tmp_path, some_trials(), 24))
    shares = study.importances()
    assert next(iter(shares)) == "bits"
    assert shares["bits"] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)


def test_too_few_trials_have_no_importances(tmp_path):
    _, (study,) = read(record(tmp_path, some_trials()[:7], 5))
    assert study.importances() == {}
    assert "dskd-importances" not in {picture.name for picture in pictures(study)}


def test_the_table_marks_the_chosen_trial_and_shows_the_defaults(tmp_path):
    _, (study,) = read(record(tmp_path, some_trials(), 24))
    table = best_trials(study)
    assert [row.cells[0].text for row in table.rows] == [
        *map(str, range(24, 14, -1)),
        "0",
    ]
    assert table.rows[0].cells[1].mark == "best"
    assert table.rows[-1].cells[-1].text == "defaults"
    assert "25 complete, 1 pruned, 1 failed" in table.caption


def test_every_picture_is_there_as_a_file_and_on_the_page(tmp_path):
    report = build(record(tmp_path, some_trials(), 24), tmp_path / "report")
    names = {path.stem for path in (tmp_path / "report" / "figures").glob("*.pdf")}
    wanted = {"history", "curves", "importances", "slice", "contour", "parallel"}
    assert names == {"expected", *(f"dskd-{name}" for name in wanted)}
    forms = {path.suffix for path in (tmp_path / "report" / "tables").glob("expected.*")}
    assert forms == {".md", ".tex", ".csv"}
    assert {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")} == names
    page = report.index.read_text()
    assert page.count("<img") == 7
    assert "http" not in page.replace("http-equiv", "")
    assert all(path.is_file() for path in report.files)


def test_two_objectives_show_their_front(tmp_path):
    trials = [
        trial(i, "complete", 80.0 + i, {"steps": 1 + i, "bits": 16, "anchor": "kl"}, second=[s])
        for i, s in enumerate([0.1, 0.4, 0.3])
    ]
    _, (study,) = read(record(tmp_path, trials, 2, front=[0, 2]))
    assert study.two_objectives
    assert "dskd-pareto" in {picture.name for picture in pictures(study)}
    assert [row.cells[2].text for row in best_trials(study).rows] == [
        "0.3000 front",
        "0.4000",
        "0.1000 front",
    ]


def test_a_search_without_a_complete_trial_has_an_empty_report(tmp_path):
    params = {"steps": 3, "bits": 20, "anchor": "kl"}
    report = build(record(tmp_path, [trial(0, "failed", None, params)], None), tmp_path / "report")
    assert report.index.is_file()
    assert not list((tmp_path / "report" / "figures").iterdir())


def test_a_record_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SearchRecordError, match=r"search\.json"):
        build(tmp_path / "search.json", tmp_path / "report")


def test_a_pruned_trial_is_never_the_best_one_shown(tmp_path):
    params = {"steps": 3, "bits": 20, "anchor": "kl"}
    trials = [trial(0, "complete", 80.0, params), trial(1, "pruned", 99.0, params)]
    _, (study,) = read(record(tmp_path, trials, 0))
    assert isinstance(study, Study)
    assert [row.cells[0].text for row in best_trials(study).rows] == ["0"]


def test_the_expected_best_of_two_trials_is_the_mean_of_the_larger_of_two_draws():
    # of 1 and 3: both draws 1 in a quarter of the cases, else 3
    assert expected_best([3.0, 1.0], [1, 2]).tolist() == [2.0, 2.5]
    # ten draws from one value find it; more draws never expect less
    assert expected_best([5.0], [10]).tolist() == [5.0]
    rising = expected_best(np.random.default_rng(0).normal(size=30), np.arange(1, 31))
    assert (np.diff(rising) > 0).all()


def test_twenty_six_methods_leave_the_expected_best_its_room():
    names = [f"method_{number}" for number in range(26)]
    tried = {name: np.arange(8.0) + number for number, name in enumerate(names)}
    figure, axes = plots.one_axes("tuning", (COLUMN_INCHES, height_for(len(tried))))
    plots.expected(axes, tried)
    figure.canvas.draw()
    assert axes.get_position().height > 0.7
    assert [text.get_text() for text in axes.texts] == names  # from the lowest to the highest
    assert axes.get_legend() is None
    plt.close(figure)
