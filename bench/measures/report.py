"""Analysis: the whole report of 1,000 runs with features, from files to the page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from analysis.report import build
from bench import store
from bench.registry import Figure, Settings
from bench.timing import once
from suite.store.record import RunDirectory
from suite.train.features import CHANGING, IMAGES, epochs_to_keep
from sweeps.plan.runs import Plan

RUNS, WIDTH, CLASSES, STEPS, KEPT = 1000, 64, 100, 5, 6


def measure(settings: Settings) -> Iterator[Figure]:  # noqa: ARG001
    """Six pairs and methods on CIFAR's sizes; cold measures all features, again none."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        plan, manifest = store.make(root, RUNS, "dskd_cifar")
        add_features(root, plan)
        report = partial(build, root, manifest, root / "report")
        note = f"{len(plan.runs):,} runs, {IMAGES} images a split, width {WIDTH}"
        yield Figure("report, cold", once(report), "s", at_most=60.0, note=note)
        yield Figure("report, again", once(report), "s", note="records and gap figures cached")


def add_features(root: Path, plan: Plan, seeds: int | None = None) -> None:
    """Features of students as a run keeps them: at the end and after some epochs.

    ``seeds``: of so many seeds, from 0; None: of all.
    """
    contents: dict[str, tuple[bytes, bytes]] = {}
    for spec in plan.runs:
        if spec.role == "teacher" or (seeds is not None and spec.config.seed >= seeds):
            continue
        run = RunDirectory.of(root, spec.experiment, spec.run_id)
        name = spec.config.method.name
        last, before = contents.setdefault(name, _files(name))
        run.features.write_bytes(last)
        for epoch in epochs_to_keep(store.EPOCHS, KEPT):
            run.features_after(epoch).write_bytes(before)


def _files(method: str) -> tuple[bytes, bytes]:
    """``features.npz`` and that of an epoch."""
    rng = np.random.default_rng(len(method))
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "heldout"):
        shared = np.random.default_rng(len(split))  # teacher and images are the same in all runs
        teacher, label = (
            shared.standard_normal((IMAGES, WIDTH)),
            shared.integers(CLASSES, size=IMAGES),
        )
        student = teacher + rng.standard_normal((IMAGES, WIDTH))
        found = {"label": label, "index": np.arange(IMAGES), "student_pooled": student}
        found["student_logits"] = rng.standard_normal((IMAGES, CLASSES))
        if method != "scratch":
            found |= {"teacher_pooled": teacher, "teacher_logits": found["student_logits"]}
        if method == "dskd":
            found |= {"inspect/original": student, "inspect/denoised": (student + teacher) / 2}
            found["inspect/trajectory_nll"] = rng.random((IMAGES, STEPS + 1))
        arrays |= {f"{split}/{name}": _single(array) for name, array in found.items()}
    changing = {name: it for name, it in arrays.items() if name.partition("/")[2] in CHANGING}
    return _npz(arrays), _npz(changing)


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
