"""The distance to the teacher along the steps of a sampling run."""

from __future__ import annotations

import numpy as np

from analysis.feature_gap import features
from analysis.feature_gap.features import Array
from analysis.feature_gap.metrics import frechet
from analysis.feature_gap.views import VIRTUAL, View


def trajectory_distances(arrays: dict[str, Array]) -> Array | None:
    """Fréchet distance to the teacher of what each sampling step left [steps + 1].

    The metric of the gap table, through the map of the features before denoising: the last entry is
    what the table says of the virtual teacher. None where the method kept no trajectory.
    """
    steps = arrays.get("heldout/inspect/trajectory")  # [M, steps + 1, D]
    original, target = (
        arrays.get(f"train/{name}") for name in ("inspect/original", "teacher_pooled")
    )
    if steps is None or steps.ndim != 3 or original is None or target is None:
        return None
    teacher, label = arrays["heldout/teacher_pooled"], arrays["heldout/label"]
    fitted = features.fit_linear_map(original, target)
    after_each = (steps[:, number] for number in range(steps.shape[1]))
    return np.array(
        [frechet(View(VIRTUAL, step, fitted(step), teacher, label)).value for step in after_each]
    )
