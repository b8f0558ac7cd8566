"""What is compared: descriptions of a student beside the teacher, on held-out images.

A view is one description of the student: its pooled feature and, where the method saved them,
features before and after denoising. All are compared in the teacher's space, through the linear map
fitted on training images; denoised features go through the map of those before denoising, so that
they differ from these by the denoising alone.

Shapes: M images, D_s and D_t features of student and teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.feature_gap import features
from analysis.feature_gap.features import Array

STUDENT, ORIGINAL, DENOISED, VIRTUAL = "student", "original", "denoised", "virtual_teacher"
VIEWS = {
    STUDENT: "student",
    ORIGINAL: "before denoising",
    DENOISED: "denoised, unguided",
    VIRTUAL: "virtual teacher (sees the teacher's prediction)",
}
"""Views and their names. A method that guides the denoising by what the teacher says of the very
image saves the guided sample as ``virtual_teacher`` and the unguided one as ``denoised``."""
AFTER = (DENOISED, VIRTUAL)


@dataclass(frozen=True)
class View:
    """One description of the student beside the teacher, on held-out images."""

    name: str
    raw: Array
    """[M, D_s] as the student has it."""
    mapped: Array
    """[M, D_t] in the teacher's space."""
    teacher: Array
    """[M, D_t]"""
    label: Array
    """[M]"""

    @cached_property
    def variance(self) -> float:
        """Total variance of the teacher's features: the unit of distances."""
        return features.total_variance(self.teacher)


def views(arrays: dict[str, Array]) -> list[View]:
    """The views in the arrays of a ``features.npz``; none without teacher or held-out images."""
    if "train/teacher_pooled" not in arrays or "heldout/teacher_pooled" not in arrays:
        return []
    teacher, label = arrays["heldout/teacher_pooled"], arrays["heldout/label"]
    made = []
    for name, array in ((STUDENT, "student_pooled"), (ORIGINAL, "inspect/original")):
        if f"train/{array}" not in arrays or f"heldout/{array}" not in arrays:
            continue
        fitted = features.fit_linear_map(arrays[f"train/{array}"], arrays["train/teacher_pooled"])
        raw = arrays[f"heldout/{array}"]
        if name == STUDENT or not _same(raw, arrays["heldout/student_pooled"]):
            made.append(View(name, raw, fitted(raw), teacher, label))
        for after in AFTER if name == ORIGINAL else ():
            sample = arrays.get(f"heldout/inspect/{after}")
            if sample is not None and sample.shape == raw.shape:
                made.append(View(after, sample, fitted(sample), teacher, label))
    return made


def between(first: dict[str, Array], second: dict[str, Array], network: str) -> View | None:
    """Two networks of one kind beside each other, as student and teacher: the noise floor.

    Args:
        first: Arrays of a ``features.npz``, whose network takes the place of the student.
        second: Arrays of another run, whose network takes the place of the teacher.
        network: ``student`` or ``teacher``.

    Returns:
        None where a network is missing or the images are not the same.
    """
    train, heldout = (f"{split}/{network}_pooled" for split in ("train", "heldout"))
    indices = ("train/index", "heldout/index")
    needed = (train, heldout, *indices, "heldout/label")
    if any(name not in arrays for arrays in (first, second) for name in needed):
        return None
    if any(not np.array_equal(first[name], second[name]) for name in indices):
        return None
    fitted = features.fit_linear_map(first[train], second[train])
    raw = first[heldout]
    return View(network, raw, fitted(raw), second[heldout], first["heldout/label"])


def _same(x: Array, y: Array) -> bool:
    return x.shape == y.shape and np.allclose(x, y, rtol=1e-3, atol=1e-4)
