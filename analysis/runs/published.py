"""Published figures: the rows of ``published.csv`` that concern our methods, in our names."""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path

import pandas as pd

DATASETS = {"CIFAR-100": "cifar100", "ImageNet": "imagenet"}
EPOCHS = {"cifar100": 240, "imagenet": 100}
"""Length of the training behind the published figures (METHODS of the sources; SimKD: 120)."""
METHODS = {
    "student (no distillation)": "scratch",
    "KD": "kd",
    "KD (T=4)": "kd",
    "FitNet": "fitnet",
    "AT": "at",
    "SP": "sp",
    "VID": "vid",
    "RKD": "rkd",
    "PKT": "pkt",
    "CRD": "crd",
    "DKD": "dkd",
    "DIST": "dist",
    "SimKD (f=2)": "simkd",
    "ReviewKD": "reviewkd",
    "DiffKD": "diffkd",
    "teacher (no distillation)": "teacher",
}
"""The literature's name -> ours; other methods and reruns by third parties are no anchors."""
IMAGENET_MODELS = {
    "ResNet18": "resnet18",
    "ResNet34": "resnet34",
    "ResNet50": "resnet50",
    "MobileNetV1": "mobilenetv1_100",
    "MobileNetV2": "mobilenetv2_100",
}
CIFAR_MODELS = {
    "ResNet50": "cifar_resnet50",
    "MobileNetV2": "cifar_mobilenet_v2",
    "ShuffleNetV1": "cifar_shufflenet_v1",
    "ShuffleNetV2": "cifar_shufflenet_v2",
}
REPORTED = "reported.csv"
"""In the run store: what ``dskd-bench import-csv`` has taken."""
REPORTED_COLUMNS = (
    *("dataset", "teacher", "student", "method", "top1_percent", "protocol", "source"),
    *("epochs", "seeds", "std_percent"),
)
PRIORITY = ("RepDistiller", "mdistiller", "DIST_KD", "ReviewKD", "DiffKD", "SimKD")
"""The protocol of a table comes from one source where possible: CRD's tables first."""


def model_name(name: str, dataset: str) -> str:
    """Our (timm) name of a network of the literature: wrn_40_2 -> cifar_wrn_40_2."""
    if dataset == "cifar100":
        return CIFAR_MODELS.get(name, f"cifar_{name}")
    return IMAGENET_MODELS.get(name, name.lower())


@functools.cache
def published() -> pd.DataFrame:
    """``dataset, teacher, student, method, top1_percent, protocol, source``, best source first.

    ``protocol`` is ``last`` or ``best`` (test epoch) where the source says, else empty.
    """
    with resources.files("analysis.runs").joinpath("published.csv").open() as file:
        rows = pd.read_csv(file, keep_default_na=False)
    rows["dataset"] = rows["dataset"].map(DATASETS)
    rows["method"] = rows["method"].map(METHODS)
    for role in ("teacher", "student"):
        names = zip(rows[role], rows["dataset"], strict=True)
        rows[role] = [model_name(name, dataset) for name, dataset in names]
    rows["priority"] = rows["source"].map(_priority)
    rows = rows.sort_values("priority", kind="stable").drop(columns="priority")
    return rows.reset_index(drop=True)


def figures(dataset: str, teacher: str, student: str, method: str) -> pd.DataFrame:
    """What was published of one cell, best source first; empty for most cells.

    The tag of timm's weights (``resnet34.tv_in1k``) is no part of a network's name.
    """
    rows = published()
    chosen = (
        (rows["dataset"] == dataset)
        & (rows["teacher"] == teacher.partition(".")[0])
        & (rows["student"] == student.partition(".")[0])
        & (rows["method"] == method)
    )
    return rows[chosen]


def reported(runs_root: Path) -> pd.DataFrame:
    """What ``import-csv`` has taken into a run store, in our names; empty for most stores.

    The columns of :func:`published`, and ``epochs``, ``seeds``, ``std_percent`` (NaN: not stated).
    """
    try:
        rows = pd.read_csv(runs_root / REPORTED)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame(columns=REPORTED_COLUMNS)
    rows["protocol"] = rows["protocol"].fillna("")
    for role in ("teacher", "student"):
        names = zip(rows[role].astype(str), rows["dataset"], strict=True)
        rows[role] = [_our_name(name, dataset) for name, dataset in names]
    return rows


def _our_name(name: str, dataset: str) -> str:
    known = name.startswith("cifar_") or dataset not in DATASETS.values()
    return name if known else model_name(name, dataset)


def _priority(source: str) -> int:
    ranks = (rank for rank, name in enumerate(PRIORITY) if source.startswith(name))
    return next(ranks, len(PRIORITY))
