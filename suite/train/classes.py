"""What would train or compare wrongly without a word: classes without images, other class lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from suite.config import DataConfig, RunConfig
from suite.data import Dataset
from suite.interface.errors import UserError
from suite.store.record import RunDirectory

SHOWN = 5


def fault_of_training_images(data: Dataset) -> UserError | None:
    """Why the training split cannot teach all classes: some have no image in it."""
    counts = torch.bincount(data.train_labels.cpu(), minlength=data.num_classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if not empty:
        return None
    named = ", ".join(repr(data.class_names[it]) if data.class_names else str(it) for it in empty)
    shown = named if len(empty) <= SHOWN else f"{len(empty)} of {data.num_classes} classes"
    return UserError(
        f"data {data.name}: no training image of class {shown}: add images, leave data.train_limit "
        "out, or train on the validation images too (data.train_split=trainval)"
    )


def require_those_of_the_teacher(config: RunConfig, data: Dataset, runs_root: Path) -> None:
    """Raise :class:`UserError` if the teacher's run, where it is one, learned other classes.

    Labels are numbers: a teacher of other classes, or of the same in another order, would teach
    nonsense. How many there are is seen when its weights are loaded.
    """
    for run_id in () if config.teacher is None else config.teacher.run_ids:
        _require_same(RunDirectory.of_teacher(runs_root, run_id), config, data)


def _require_same(run: RunDirectory, config: RunConfig, data: Dataset) -> None:
    spec, record = run.read_config() or {}, run.read_result() or {}
    difference = _difference(
        spec.get("config", {}).get("data", {}),
        record.get("data", {}).get("class_names", ()),
        config.data,
        data.class_names,
    )
    if difference:
        raise UserError(f"teacher run {run.path.name}: other classes than here: {difference}")


def _difference(
    theirs: dict[str, Any], their_names: Sequence[str], ours: DataConfig, our_names: Sequence[str]
) -> str:
    """The first one, in words; nothing where it is not known what the teacher learned."""
    if their_names and our_names:
        pairs = enumerate(zip(their_names, our_names, strict=False))
        return next(
            (
                f"class {it} was {left!r} and is {right!r}"
                for it, (left, right) in pairs
                if left != right
            ),
            "",
        )
    if not theirs:
        return ""
    learned = DataConfig.model_validate(theirs)
    place, own = (f"{it.name} from class {it.first_class}" for it in (learned, ours))
    return "" if place == own else f"it learned {place}, the student sees {own}"
