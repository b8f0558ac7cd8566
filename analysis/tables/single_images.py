"""What the runs predict for single images: calibration, fidelity, classes, gains and losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.runs.grid import ColumnKey
from analysis.runs.predictions import Place, Predicted, Run
from analysis.statistics import stats
from analysis.statistics.calibration import (
    BINS,
    changed,
    churn,
    expected_calibration_error,
    reliability,
)
from analysis.statistics.stats import Array
from analysis.tables.forms.render import Cell, Column, Row, Table
from analysis.tables.forms.text import mean_cell, number_cell, signed_cell
from analysis.tables.gains import references
from analysis.tables.inputs import Inputs

ORDER = 85
MOST_CLASSES, MOST_IMAGES = 20, 20
"""Rows of a table at most: those on which the methods differ most."""


def tables(inputs: Inputs) -> Iterator[Table]:
    """All four, where runs have kept their predictions."""
    predicted = inputs.predicted
    if not predicted.cells:
        return
    yield probabilities(predicted)
    yield gained_and_lost(predicted)
    for number, key in enumerate(predicted.grid.columns):
        labels = [it for it in predicted.grid.labels if Place(it, key) in predicted.cells]
        if len(labels) > 1:
            yield classes(predicted, key, labels, number)
            yield images(predicted, key, labels, number)


def probabilities(predicted: Predicted) -> Table:
    """Calibration, and fidelity to the teacher."""
    rows = []
    for place, runs in predicted.cells.items():
        cells = [Cell(predicted.grid.place(place.column)), Cell(place.label), Cell(str(len(runs)))]
        cells += [
            mean_cell([100 * _calibration_error(run) for run in runs], 1),
            mean_cell([100 * _overconfidence(run) for run in runs], 1),
            mean_cell([_mean(run.predictions.nll) for run in runs], 3),
            mean_cell([100 * _agreement(predicted, place.column, run) for run in runs], 1),
            mean_cell([_mean(run.predictions.teacher_kl) for run in runs], 3),
        ]
        rows.append(Row(cells, place.label, place.column.pair))
    headers = ["n", "calibration error", "overconfidence", "NLL", "agreement", "KL"]
    return Table(
        name="probabilities",
        title="Calibration, and fidelity to the teacher",
        columns=[Column("Pair", "l"), Column("Method", "l"), *map(Column, headers)],
        rows=rows,
        caption="On the images of the accuracy table; mean ± standard deviation over n runs.",
        notes=(
            f"calibration error: expected, over {BINS} bins of confidence, in percent (Guo et al. "
            "2017); overconfidence: mean confidence minus accuracy, in points; NLL: of the label, "
            "nats.",
            "agreement: percent of images on which student and teacher predict the same class; KL: "
            "of the teacher's probabilities to the student's, nats (Stanton et al. 2021). A dash: "
            "the run had no teacher, or kept no such figure.",
        ),
    ).without_constant("Pair")


def gained_and_lost(predicted: Predicted) -> Table:
    """How many images a method gets right that the references get wrong, and the reverse."""
    rows = []
    for place, runs in predicted.cells.items():
        for reference in references(predicted.grid):
            others = predicted.cells.get(Place(reference, place.column))
            if others is None or reference == place.label:
                continue
            right, other = (np.stack([run.right for run in some]) for some in (runs, others))
            found = changed(right, other)
            cells = [
                Cell(predicted.grid.place(place.column)),
                Cell(place.label),
                Cell(reference),
                number_cell(100 * found.gained, 2),
                number_cell(100 * found.lost, 2),
                signed_cell(100 * (found.gained - found.lost)),
                number_cell(100 * churn(other), 2),
            ]
            rows.append(Row(cells, place.label, place.column.pair))
    headers = ["gained", "lost", "difference", "between seeds"]
    return Table(
        name="gained",
        title="Images gained and lost",
        columns=[
            *(Column(name, "l") for name in ("Pair", "Method", "against")),
            *map(Column, headers),
        ],
        rows=rows,
        caption=(
            "Percent of the images of the accuracy table that a run gets right and a run of the "
            "other method wrong (gained), and the reverse (lost); mean over all pairs of runs."
        ),
        notes=(
            "between seeds: what two runs of the other method gain and lose against each other. "
            "Only what is beyond it comes from the method.",
        ),
    ).without_constant("Pair")


def classes(predicted: Predicted, key: ColumnKey, labels: list[str], number: int) -> Table:
    """Accuracy by class."""
    first = predicted.cells[Place(labels[0], key)][0].label
    names = np.unique(first)
    shares = _right(predicted, key, labels)
    accuracy = 100 * np.stack([shares[:, first == name].mean(axis=1) for name in names])
    chosen = _most_varied(accuracy, MOST_CLASSES)
    left_out = f" {len(chosen)} of {len(names)}: those on which methods differ most."
    return Table(
        name=f"classes-{number}",
        title=f"Accuracy by class, {predicted.grid.place(key)}",
        columns=[Column("class"), Column("images"), *map(Column, labels)],
        rows=[
            Row(
                [
                    Cell(str(names[place])),
                    Cell(str(int((first == names[place]).sum()))),
                    *(number_cell(float(value), 1) for value in accuracy[place]),
                ],
                pair=key.pair,
            )
            for place in chosen
        ],
        caption="Percent, mean over runs; classes by their number."
        + (left_out if len(chosen) < len(names) else ""),
    )


def images(predicted: Predicted, key: ColumnKey, labels: list[str], number: int) -> Table:
    """The images that methods gain and lose most."""
    first = predicted.cells[Place(labels[0], key)][0].label
    shares = 100 * _right(predicted, key, labels).T  # [N, labels]
    return Table(
        name=f"images-{number}",
        title=f"Images on which methods differ most, {predicted.grid.place(key)}",
        columns=[Column("image"), Column("class"), *map(Column, labels)],
        rows=[
            Row(
                [
                    Cell(str(image)),
                    Cell(str(first[image])),
                    *(number_cell(float(value), 0) for value in shares[image]),
                ],
                pair=key.pair,
            )
            for image in _most_varied(shares, MOST_IMAGES)
        ],
        caption="Percent of a method's runs that are right; images by their place in the split. "
        "Chosen because they differ: they are no sample, and seeds differ on images, too.",
    )


def _right(predicted: Predicted, key: ColumnKey, labels: list[str]) -> Array:
    """[labels, N] share of runs that are right."""
    cells = (predicted.cells[Place(label, key)] for label in labels)
    return np.stack([np.mean([run.right for run in runs], axis=0) for runs in cells])


def _most_varied(rows: Array, most: int) -> list[int]:
    """Numbers of the rows with the largest range, in their own order."""
    order = np.argsort(-np.ptp(rows, axis=1), kind="stable")[:most]
    return sorted(int(place) for place in order)


def _calibration_error(run: Run) -> float:
    confidence = run.predictions.confidence
    if confidence is None:
        return float("nan")
    return expected_calibration_error(reliability(confidence, run.right))


def _overconfidence(run: Run) -> float:
    return _mean(run.predictions.confidence) - float(run.right.mean())


def _agreement(predicted: Predicted, key: ColumnKey, run: Run) -> float:
    teacher = predicted.of_teacher(key, run.teacher_run_id)
    if teacher is None or len(teacher) != len(run.label):  # an ensemble, weights from a file
        return run.agreement_percent / 100
    return float((run.predictions.predicted == teacher.predicted).mean())


def _mean(values: object) -> float:
    return float("nan") if values is None else stats.mean(np.asarray(values, dtype=np.float64))
