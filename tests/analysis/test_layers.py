"""Similarity of all stages of student and teacher."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.feature_gap import gap
from analysis.plots.column import Column
from analysis.plots.layers import draw, similarities
from analysis.runs.collect import collect
from analysis.runs.grid import Grid


def column_of(store):
    collected = collect(store.root, store.write_manifest())
    grid = Grid(collected)
    return Column(grid, gap.gaps(collected), grid.columns[0])


def test_a_stage_that_is_a_turned_copy_has_similarity_one_and_an_independent_one_none():
    rng = np.random.default_rng(0)
    shallow, deep = rng.normal(size=(2, 500, 4))
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    values = similarities([shallow @ turn, deep], [shallow, deep, shallow])
    assert values.shape == (2, 3)
    assert values[0] == pytest.approx([1, 0, 1], abs=0.03)
    assert values[1] == pytest.approx([0, 1, 0], abs=0.03)


def test_stages_are_drawn_in_their_order_where_runs_kept_them(store):
    store.finish(store.add("kd", 0))
    entry = store.add("crd", 0)
    store.finish(entry)
    path = store.path(entry) / "features.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    rng = np.random.default_rng(0)
    order = [10, 0, 2]  # as a file may hold them
    kept = {number: rng.normal(size=(300, 3)) for number in order}
    for network in ("student", "teacher"):
        arrays |= {f"heldout/{network}_stage{number}": it for number, it in kept.items()}
    np.savez(path, **arrays)
    figure = draw(column_of(store))
    assert [axes.get_title() for axes in figure.axes] == ["crd"]
    diagonal = [text.get_text() for text in figure.axes[0].texts][::4]
    assert diagonal == ["1.00", "1.00", "1.00"]
    plt.close(figure)


def test_without_such_features_there_is_no_figure(store):
    store.finish(store.add("kd", 0))
    assert draw(column_of(store)) is None
