"""What analysis needs of the finished run: features of teacher and student on some images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.data import Dataset
from suite.interface.distiller import Batch, Distiller
from suite.interface.taps import TappedModel
from suite.store.record import RunDirectory, write_atomically

IMAGES = 1000
"""At most so many images of each split."""
BATCH_SIZE = 250

Arrays = dict[str, NDArray[np.generic]]
CHANGING = (
    "student_pooled", "inspect/original", "inspect/denoised", "inspect/virtual_teacher",
)  # fmt: skip
"""What changes over training and is kept of an epoch; the rest is in the record of the run."""


def epochs_to_keep(epochs: int, count: int) -> frozenset[int]:
    """Epochs after which features are kept: the first, then evenly to before the last.

    With the last, which ``features.npz`` has, these are ``count`` + 1; none for ``count`` 0.
    """
    spread = {1, *(round(epochs * part / count) for part in range(1, count))} if count else set()
    return frozenset(epoch for epoch in spread if 1 <= epoch < epochs)


def save(
    run: RunDirectory,
    data: Dataset,
    student: TappedModel,
    teacher: TappedModel | None,
    distiller: Distiller,
    *,
    stages: bool = False,
) -> None:
    """Write ``features.npz``: unaugmented training images and a held-out split.

    The held-out split is the validation split where the run has one, else the test split. The
    arrays are described in ``docs/run_store.md``. ``stages``: of held-out images also the features
    of all stages of both networks, means over positions.
    """
    arrays = _arrays(data, student, teacher, distiller)
    if stages:
        arrays |= _of_stages(data, student, teacher)
    _write(run.features, run, arrays)


def save_epoch(
    run: RunDirectory,
    epoch: int,
    data: Dataset,
    student: TappedModel,
    teacher: TappedModel | None,
    distiller: Distiller,
) -> None:
    """Write ``features-0001.npz``: of :func:`save` what changes over training.

    Draws from no random stream; leaves student and method in evaluation mode.
    """
    arrays = _arrays(data, student, teacher, distiller)
    kept = {name: array for name, array in arrays.items() if name.partition("/")[2] in CHANGING}
    _write(run.features_after(epoch), run, kept)


def _write(path: Path, run: RunDirectory, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, run_id=np.array(run.path.name), **arrays)
    write_atomically(path, buffer.getvalue())


@torch.no_grad()
def _of_stages(data: Dataset, student: TappedModel, teacher: TappedModel | None) -> Arrays:
    """``heldout/student_stage0`` ... and the teacher's: [M, C]."""
    split = _heldout(data)
    networks = {"student": student, "teacher": teacher}
    kept: dict[str, list[Tensor]] = {}
    batches = data.evals[split].batches(BATCH_SIZE) if split is not None else iter(())
    for batch in islice(batches, IMAGES // BATCH_SIZE):
        for name, network in networks.items():
            if network is None:
                continue
            outputs = network.eval()(batch.image, network.stages).float()
            for stage in network.stages:
                pooled = outputs[stage].mean(dim=(2, 3)).cpu()
                kept.setdefault(f"heldout/{name}_{stage}", []).append(pooled)
    return {name: torch.cat(parts).numpy() for name, parts in kept.items()}


def _heldout(data: Dataset) -> str | None:
    return next((split for split in ("val", "test") if split in data.evals), None)


def _arrays(
    data: Dataset, student: TappedModel, teacher: TappedModel | None, distiller: Distiller
) -> Arrays:
    heldout = _heldout(data)
    arrays = _describe("train", data.train.plain(BATCH_SIZE), student, teacher, distiller)
    arrays = {name: array for name, array in arrays.items() if array.ndim < 3}  # no trajectories
    if heldout is not None:
        images = data.evals[heldout].batches(BATCH_SIZE)
        arrays |= _describe("heldout", images, student, teacher, distiller)
        arrays["heldout_split"] = np.array(heldout)
    return arrays


@torch.no_grad()
def _describe(
    split: str,
    batches: Iterator[Batch],
    student: TappedModel,
    teacher: TappedModel | None,
    distiller: Distiller,
) -> Arrays:
    found: dict[str, list[Tensor]] = {}
    student.eval()
    distiller.eval()
    for batch in islice(batches, IMAGES // BATCH_SIZE):
        for name, tensor in of_batch(batch, student, teacher, distiller).items():
            found.setdefault(f"{split}/{name}", []).append(tensor.cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


def of_batch(
    batch: Batch, student: TappedModel, teacher: TappedModel | None, distiller: Distiller
) -> dict[str, Tensor]:
    """What is kept of a batch, by name; all networks are in evaluation mode."""
    by_student = student(batch.image, ("pooled", *distiller.student_taps())).float()
    found = {
        "label": batch.label,
        "index": batch.index,
        "student_pooled": by_student["pooled"],
        "student_logits": by_student.logits,
    }
    if teacher is None:
        return found
    pooled = ("pooled",) if "pooled" in teacher.shapes else ()  # an ensemble has none
    by_teacher = teacher(batch.image, (*pooled, *distiller.teacher_taps())).float()
    found |= {f"teacher_{tap}": by_teacher[tap] for tap in pooled}
    if teacher.has_classifier:
        found["teacher_logits"] = by_teacher.logits
    inspected = distiller.inspect(batch, by_student, by_teacher)
    return found | {f"inspect/{name}": tensor for name, tensor in inspected.items()}
