"""What titles and captions say: networks by name, and what is not drawn."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from analysis.feature_gap import gap
from analysis.plots.column import PANELS
from analysis.plots.health import health_figure
from analysis.report.figures import Pictures
from analysis.runs.collect import collect
from analysis.runs.grid import Grid


def pictures_of(store, tmp_path):
    collected = collect(store.root, store.write_manifest())
    pictures = Pictures(Grid(collected), gap.gaps(collected, tmp_path))
    return {picture.name: picture for picture in pictures.of_column(0)}


def test_titles_and_captions_name_the_networks(store, tmp_path):
    models = ("cifar_resnet32x4", "cifar_resnet8x4")
    for label in ("scratch", "kd"):
        store.finish(store.add(label, 0, models=models), features=False)
    pictures = pictures_of(store, tmp_path)
    head = "cifar_resnet32x4 → cifar_resnet8x4 (teacher → student): "
    curves = pictures["curves"].caption()
    assert curves.startswith(f"{head}accuracy on the test split over training: ")
    assert "2 runs of 2 methods, seed 0" in curves
    figure = pictures["curves"].draw()
    title = figure.axes[0].get_title()
    assert title.split() == ["cifar_resnet32x4", "→", "cifar_resnet8x4:", "test", "accuracy"]
    assert max(map(len, title.splitlines())) <= 46
    plt.close(figure)


def test_two_columns_of_the_same_networks_are_told_apart(store):
    for recipe in ("short", "long"):
        store.finish(store.add("kd", 0, recipe=recipe), features=False)
    grid = Grid(collect(store.root, store.write_manifest()))
    names = [grid.networks(column) for column in grid.columns]
    assert names == [
        "net_teacher → net_student, teacher → student (short)",
        "net_teacher → net_student, teacher → student (long)",
    ]


@pytest.mark.parametrize("stem", ["embedding", "densities", "trajectory"])
def test_captions_say_which_images_and_classes_and_which_methods_are_left_out(
    store, tmp_path, stem
):
    for number in range(PANELS + 2):
        store.finish(store.add(f"method{number}", 0), features=number == 0)
    caption = pictures_of(store, tmp_path)[stem].caption()
    assert "300 held-out images of 10 classes, first seed" in caption
    assert "Not drawn, beyond 12 methods: method12, method13." in caption


def test_the_embedding_says_which_of_twenty_classes_are_numbered(store, tmp_path):
    store.classes = 20
    store.finish(store.add("kd", 0))
    caption = pictures_of(store, tmp_path)["embedding"].caption()
    assert "10 of 20 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)" in caption


def test_health_figures_of_many_orders_have_a_logarithmic_axis_and_name_the_method():
    epochs = pd.DataFrame(
        {
            "label": "dskd",
            "run_id": "r",
            "epoch": [1, 2, 3],
            "diagnostics/norm": [1.0, 1e6, 1e12],
            "diagnostics/share": [0.1, 0.2, 0.3],
        }
    )
    names = ["diagnostics/norm", "diagnostics/share"]
    figure = health_figure(epochs, names, {"dskd": "red"})
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dskd"]
    figure.canvas.draw()
    assert figure.axes[1].yaxis.get_offset_text().get_text() == ""
    plt.close(figure)
