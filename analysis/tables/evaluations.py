"""What students do on images that they were not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analysis.runs.evaluations import Evaluations
from analysis.runs.grid import ColumnKey, Grid
from analysis.statistics import stats
from analysis.tables.accuracy import score_cell
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import number_cell, scores_cell
from analysis.tables.inputs import Inputs
from suite.store.evaluations import PROBE, ROBUSTNESS

ORDER = 70
TOP1 = "top1_percent"


def tables(inputs: Inputs) -> Iterator[Table]:
    """Where `dskd-bench probe` or `dskd-bench robustness` has measured runs."""
    yield probe(inputs.grid)
    yield robustness(inputs.grid)


def probe(grid: Grid) -> Table:
    """Accuracy of linear classifiers on frozen features; methods x other data sets."""
    found = Evaluations.of(grid, PROBE)
    places = [(key, protocol) for key in grid.columns for protocol in found.protocols_of(key)]
    names = _names(found.protocols)
    rows = [
        Row([Cell("teacher"), *(scores_cell(found.of_teachers(*place, TOP1)) for place in places)]),
        *(
            Row(
                [Cell(label), *(score_cell(found.cell(label, *it, TOP1)) for it in places)],
                label,
                rule_above=number == 0,
            )
            for number, label in enumerate(grid.labels)
        ),
    ]
    return Table(
        name="probe",
        title="Linear probe on other data: test accuracy (%)",
        columns=[Column("Method", "l"), *(_header(grid, key, names[it]) for key, it in places)],
        rows=rows if places else [],
        caption=(
            "Top-1 (%) on the test images of another data set, of a linear classifier trained on "
            "the penultimate features of the frozen network: mean ± standard deviation over runs "
            "(their number). After Tian et al. 2020, Table 4."
        ),
        notes=[f"{names[it]}: {_training(protocol)}" for it, protocol in found.protocols.items()],
    )


def robustness(grid: Grid) -> Table:
    """Accuracy on clean and corrupted test images; a row for each pair and method."""
    found = Evaluations.of(grid, ROBUSTNESS)
    places = [(key, protocol) for key in grid.columns for protocol in found.protocols_of(key)]
    kinds = list(dict.fromkeys(it for _, p in places for it in found.protocols[p]["corruptions"]))
    rows: list[Row] = []
    for key, protocol in places:
        figures = ["clean_top1_percent", TOP1]
        teacher = [scores_cell(found.of_teachers(key, protocol, figure)) for figure in figures]
        whole = 100 - stats.mean(found.of_teachers(key, protocol, TOP1))
        each = [found.teachers_corruption_error(key, protocol, kind) for kind in kinds]
        wrong = [number_cell(whole, 2), *(number_cell(it, 1) for it in each)]
        rows.append(
            Row(
                [Cell(grid.place(key)), Cell("teacher"), *teacher, *wrong],
                pair=key.pair,
                rule_above=bool(rows),
            )
        )
        for label in grid.labels:
            cells = [found.cell(label, key, protocol, figure) for figure in figures]
            errors = [
                number_cell(found.corruption_error(label, key, protocol, kind), 1) for kind in kinds
            ]
            mean = number_cell(100 - stats.mean(cells[1].scores), 2)
            shown = [*map(score_cell, cells), mean, *errors]
            rows.append(Row([Cell(grid.place(key)), Cell(label), *shown], label, key.pair))
    headers = ["clean", "corrupted", "mean corruption error"]
    return Table(
        name="robustness",
        title="Corrupted test images: accuracy, then errors (%)",
        columns=[
            *(Column(it, "l") for it in ("Pair", "Method")),
            *map(Column, [*headers, *(it.replace("_", " ") for it in kinds)]),
        ],
        rows=rows,
        caption=(
            "Top-1 (%) on the test images without and with corruption, the latter as the mean over "
            f"{len(kinds)} corruptions in five severities: mean ± standard deviation over runs "
            "(their number). Then errors (%): of all corruptions, and of each over its severities."
        ),
        notes=(
            "Corruptions in the style of CIFAR-100-C (Hendrycks & Dietterich 2019), made here: "
            "figures compare within this suite alone. The mean corruption error is not divided by "
            "that of another network.",
        ),
    ).without_constant("Pair")


def _header(grid: Grid, key: ColumnKey, name: str) -> Column:
    several = len(grid.columns) > 1
    return Column(f"{grid.place(key)}, {name}" if several else name, group=key.pair)


def _names(protocols: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Protocol -> its data set, with the protocol's id where several have that."""
    data = [str(protocol.get("data")) for protocol in protocols.values()]
    return {
        it: name if data.count(name) == 1 else f"{name} ({it[:8]})"
        for it, name in zip(protocols, data, strict=True)
    }


def _training(protocol: dict[str, Any]) -> str:
    after = ", ".join(map(str, protocol["decay_after"]))
    return (
        f"images of {protocol['image_size']} pixels a side, {protocol['epochs']} epochs of SGD "
        f"with batches of {protocol['batch_size']}, learning rate {protocol['lr']:g} times "
        f"{protocol['decay']:g} after epochs {after}, momentum "
        f"{protocol['momentum']:g}, weight decay {protocol['weight_decay']:g}; features of images "
        "that are not augmented."
    )
