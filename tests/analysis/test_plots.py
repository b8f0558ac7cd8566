"""The parts of the pictures that compute something; how they look is for the eye."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.plots import cost, densities, ranks, style
from analysis.plots.curves import training_curves
from analysis.plots.gaps import gap_over_epochs
from analysis.plots.sensitivity import sensitivity
from analysis.plots.trajectory import denoising_trajectory
from analysis.statistics import stats


@pytest.fixture
def axes():
    with style.paper_style():
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


def test_labels_are_pushed_apart_as_little_as_needed():
    assert style.spread([1.0, 1.0, 5.0], 1.0) == [0.5, 1.5, 5.0]
    assert style.spread([1.0, 3.0], 1.0) == [1.0, 3.0]
    placed = style.spread([0.0, 0.1, 0.2, 0.3], 0.5)
    assert np.diff(placed) == pytest.approx([0.5] * 3)
    assert np.mean(placed) == pytest.approx(0.15)


def test_labels_stay_between_the_limits():
    assert style.spread([0.0, 0.1], 1.0, low=0.0, high=5.0) == pytest.approx([0.0, 1.0])
    assert style.spread([3.0, 4.9, 5.0], 1.0, low=0.0, high=5.0) == pytest.approx([3.0, 4.0, 5.0])


def test_a_figure_is_high_enough_for_its_labels():
    assert style.height_for(3) == 2.4
    assert style.height_for(30) > style.height_for(20) > 2.4


def test_every_method_keeps_its_colour_and_marker_and_dskd_is_orange():
    labels = ["scratch", "kd", "dskd", "crd"]
    assert len(set(style.colours(labels).values())) == 4
    assert style.colours(labels)["dskd"] == style.colours(["dskd"])["dskd"] == "#D55E00"
    assert len(set(style.markers(labels).values())) == 4


def test_curves_are_means_over_seeds(axes):
    rows = [
        ("kd", f"r{seed}", epoch, 10.0 * epoch + seed) for seed in (0, 2) for epoch in (1, 2, 3)
    ]
    table = pd.DataFrame(rows, columns=["label", "run_id", "epoch", "test/top1_percent"])
    training_curves(axes, table, "test/top1_percent", ["kd"], {"kd": "red"}, teacher=35.0)
    assert axes.lines[0].get_ydata() == pytest.approx([11, 21, 31])
    assert {text.get_text() for text in axes.texts} == {"kd", "teacher"}


def test_a_teacher_far_above_its_students_is_named_instead_of_flattening_the_curves(axes):
    rows = [("kd", "r", epoch, 70.0 + epoch) for epoch in (1, 2, 3)]
    table = pd.DataFrame(rows, columns=["label", "run_id", "epoch", "test/top1_percent"])
    training_curves(axes, table, "test/top1_percent", ["kd"], {"kd": "red"}, teacher=96.4)
    assert {text.get_text() for text in axes.texts} == {"kd", "↑ teacher 96.4"}
    assert axes.get_ylim()[1] < 80


def test_a_method_far_below_the_others_is_named_with_its_figure_at_the_lower_edge(axes):
    ends = {"kd": 71.0, "dkd": 72.0, "shuffled": 4.0}
    rows = [(name, "r", epoch, end) for name, end in ends.items() for epoch in (1, 2)]
    table = pd.DataFrame(rows, columns=["label", "run_id", "epoch", "x"])
    training_curves(axes, table, "x", list(ends), dict.fromkeys(ends, "red"))
    assert {text.get_text() for text in axes.texts} == {"kd", "dkd", "↓ shuffled 4.0"}
    assert axes.get_ylim()[0] > 60


def test_a_curve_of_fewer_runs_than_expected_says_so(axes):
    table = pd.DataFrame({"label": "kd", "run_id": "r", "epoch": [1, 2], "x": [1.0, 2.0]})
    training_curves(axes, table, "x", ["kd"], {"kd": "red"}, names={"kd": "kd (1/3)"})
    assert [text.get_text() for text in axes.texts] == ["kd (1/3)"]


def test_the_gap_over_epochs_is_a_mean_over_runs_with_denoised_features_dashed(axes):
    rows = [
        ("dskd", view, epoch, f"r{seed}", 1.0 / epoch + seed + shift)
        for view, shift in (("student", 0.0), ("denoised", -0.5))
        for epoch in (1, 2)
        for seed in (0, 2)
    ]
    frame = pd.DataFrame(rows, columns=["label", "view", "epoch", "run_id", "frechet"])
    gap_over_epochs(axes, frame, "frechet", {"dskd": "red"})
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert axes.lines[0].get_ydata() == pytest.approx([2.0, 1.5])
    assert axes.lines[1].get_ydata() == pytest.approx([1.5, 1.0])


def test_a_density_integrates_to_one_and_peaks_at_the_mean():
    values = np.random.default_rng(0).normal(3, 0.5, size=2000)
    grid = np.linspace(0, 6, 601)
    found = densities.density(values, grid)
    assert found.sum() * 0.01 == pytest.approx(1.0, abs=0.01)
    assert grid[found.argmax()] == pytest.approx(3.0, abs=0.15)
    assert densities.density(np.ones(5), grid).max() == 0


def test_norms_are_in_units_of_the_teachers_mean_norm():
    teacher = np.array([[1.0, 0], [-1, 0]])
    found = densities.centred_norms({"teacher": teacher, "student": 2 * teacher + 7})
    assert found["student"] == pytest.approx([2, 2])


def test_bars_join_longest_runs_of_ranks_within_the_critical_difference():
    assert ranks.groups(np.array([1.0, 1.5, 2.6, 4.0]), 1.2) == [(0, 1), (1, 2)]
    assert ranks.groups(np.array([1.0, 3.0]), 1.0) == []
    assert ranks.groups(np.array([1.0, 1.5, 2.0]), 5.0) == [(0, 2)]


def test_the_rank_diagram_names_every_method_with_its_rank(axes):
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [2, 3, 1]])
    names = ["a", "b", "c"]
    found = ranks.critical_difference(
        axes, stats.average_ranks(scores), names, style.colours(names)
    )
    texts = [text.get_text() for text in found.texts]
    assert "a  1.33" in texts
    assert "3.00  c" in texts


@pytest.mark.parametrize(
    ("low", "high", "inside"),
    [(9, 31, [10, 15, 30]), (15, 160, [15, 30, 60, 120]), (50, 70, [60]), (41, 43, [41, 43])],
)
def test_time_axes_have_ticks_people_think_in(low, high, inside):
    assert cost.nice_seconds(low, high) == inside


def test_lines_of_one_colour_differ_by_their_marker():
    labels = [f"method {i}" for i in range(15)]
    colours = style.colours(labels)
    looks = [style.line(colours, label) for label in labels]
    assert len({(look["color"], look.get("marker")) for look in looks}) == len(labels)
    assert "marker" not in looks[0]
    assert style.line(colours, labels[0], marked=True)["marker"]


def test_times_are_written_in_their_unit():
    assert [cost.seconds_text(s) for s in (0.5, 20, 300, 7200)] == ["0.5 s", "20 s", "5 min", "2 h"]


def test_the_heat_map_writes_mean_and_deviation_and_shows_holes(axes):
    nan = float("nan")
    rows = [
        (1, 64, 80.0, "finished"),
        (1, 64, 82.0, "finished"),
        (5, 64, 90.0, "finished"),
        (5, 128, 99.0, "finished"),
        (5, 128, nan, "failed"),
        (9, 64, nan, "missing"),
    ]
    columns = ["options/steps", "options/bits", "accuracy", "state"]
    sensitivity(axes, pd.DataFrame(rows, columns=columns), "options/steps", "options/bits")
    texts = {text.get_text(): text.get_fontweight() for text in axes.texts}
    assert set(texts) == {"81.0\n±1.4", "90.0", "99.0\n1/2 runs", "missing"}
    assert texts["90.0"] == "bold"  # 99.0 is not complete and does not compete
    assert len(axes.patches) == 4  # hatched: incomplete, missing, and two that nobody expects
    assert [text.get_text() for text in axes.get_xticklabels()] == ["64", "128"]


def test_the_trajectory_is_the_mean_probability(axes):
    nats = -np.log(np.array([[0.2, 0.5], [0.4, 0.9]]))
    denoising_trajectory(axes, {"dskd": nats}, {"dskd": "red"})
    assert axes.lines[0].get_ydata() == pytest.approx([0.3, 0.7])
