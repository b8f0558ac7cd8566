"""The parts of the pictures that compute something; how they look is for the eye."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from analysis.plots import cost, densities, ranks, style
from analysis.plots.curves import training_curves
from analysis.plots.forms.limits import window
from analysis.plots.gap import gap_per_method
from analysis.plots.gap_accuracy import gap_against_accuracy
from analysis.plots.gap_epochs import gap_over_epochs
from analysis.plots.sensitivity import sensitivity
from analysis.plots.trajectory import denoising_trajectory, trajectory_distance
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


def test_one_far_off_row_does_not_flatten_an_axis_and_an_even_spread_is_whole():
    limits = window([0.70, 0.72, 0.74, 0.71, 50.0])
    assert 0.69 < limits.low < 0.70
    assert 0.74 < limits.high < 0.75
    assert (limits.side(50.0), limits.side(0.7), limits.clip(50.0)) == ("high", "", limits.high)
    assert window([1.0, 2.0, 3.0, 4.0]).high > 4.0
    assert window([0.7, 0.7, 0.7, 0.75]).high > 0.75  # equal rows do not make a near one far off
    assert window([float("nan")]) == (0.0, 1.0)
    alone = window([0.15], [0.6, 0.3, 0.15])  # one row: all of its values are seen
    assert alone.low < 0.15
    assert alone.high > 0.6


def gap_rows(**means):
    rows = [
        (label, "student", f"{label}{seed}", seed, mean + 0.001 * seed, 0.005)
        for label, mean in means.items()
        for seed in (0, 1, 2)
    ]
    return pd.DataFrame(rows, columns=["label", "view", "run_id", "seed", "cka", "cka/image_sd"])


def test_a_collapsed_row_of_the_gap_is_an_arrow_with_its_value(axes):
    frame = gap_rows(kd=0.7, dkd=0.72, crd=0.75, broken=-9.0)
    gap_per_method(axes, frame, "cka", ["kd", "dkd", "crd", "broken"])
    assert axes.get_xlim()[0] > 0.6
    assert [text.get_text() for text in axes.texts] == ["−9"]
    arrows = [line for line in axes.lines if line.get_marker() == "<"]
    rows = {float(line.get_ydata()[0]) for line in arrows}
    assert {row for row in rows if row > 2} == {3.0, 3.09}  # the mean, its runs


def test_an_interval_that_is_cut_ends_in_an_arrow_and_runs_are_rings_below_the_mean(axes):
    frame = gap_rows(kd=0.7, dkd=0.76).assign(**{"cka/image_sd": 0.5})
    gap_per_method(axes, frame, "cka", ["kd", "dkd"])
    shapes = [line.get_marker() for line in axes.lines]
    assert shapes.count("<") == shapes.count(">") == 2
    rings = [line for line in axes.lines if line.get_markersize() == 1.8]
    assert {round(float(line.get_ydata()[0]) % 1, 2) for line in rings} == {0.09}
    assert rings[0].get_gid() == "mark|kd|kd0|seed%200"


def test_a_method_that_does_not_learn_leaves_accuracy_axes_readable(axes):
    points = gap_rows(kd=0.7, dkd=0.72, crd=0.75, broken=0.71)
    points["accuracy"] = [90.0, 90.5, 91, 92, 91, 91, 91.5, 91, 92, 5, 5, 5]
    style_of = dict.fromkeys(points["label"], "black"), style.markers(list(set(points["label"])))
    gap_against_accuracy(axes, points, "cka", *style_of)
    assert axes.get_ylim()[0] > 85
    assert [text.get_text() for text in axes.texts] == ["5"]


def test_two_methods_that_do_not_learn_are_named_in_lines_of_their_own(axes):
    points = gap_rows(kd=0.7, dkd=0.72, crd=0.75, dist=0.74, broken=0.71, lost=0.711)
    points["accuracy"] = [90.0, 90.5, 91, 92, 91, 91, 91.5, 91, 92, 91, 92, 91, 5, 5, 5, 6, 6, 6]
    style_of = dict.fromkeys(points["label"], "black"), style.markers(list(set(points["label"])))
    gap_against_accuracy(axes, points, "cka", *style_of)
    assert {text.get_text() for text in axes.texts} == {"5", "6"}
    renderer = axes.figure.canvas.get_renderer()
    first, second = (text.get_window_extent(renderer) for text in axes.texts)
    assert not first.overlaps(second)


def test_the_gap_over_epochs_is_a_mean_over_runs_and_the_line_tells_the_view(axes):
    rows = [
        ("dskd", view, epoch, f"r{seed}", 1.0 / epoch + seed + shift)
        for view, shift in (("student", 0.0), ("virtual_teacher", -0.5))
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


def test_lines_differ_without_colours_up_to_four_and_with_them_always():
    labels = ["scratch", "crd", "fitnet", *(f"method {i}" for i in range(21))]
    colours = style.colours(labels)
    looks = [style.line(colours, label) for label in labels]
    assert len({look["ls"] for look in looks[:4]}) == 4
    assert len({(look["color"], look["ls"], look.get("marker")) for look in looks}) == len(labels)
    marked = [style.line(colours, label, marked=True)["marker"] for label in labels[:12]]
    assert len(set(marked)) == 12


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


def test_the_steps_of_a_trajectory_that_fly_off_are_named(axes):
    distances = {"a": [0.5, 0.2], "b": [0.4, 0.21], "c": [0.4, 0.19], "wild": [9.0, 90.0]}
    trajectory_distance(
        axes, {k: np.array(v) for k, v in distances.items()}, style.colours(list(distances))
    )
    assert "↑ wild 90" in {text.get_text() for text in axes.texts}
