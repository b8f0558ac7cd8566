"""Accuracy of finished runs on corrupted test images, see :mod:`suite.evaluation.corruptions`.

Shapes: B images, C channels, S side of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from suite import data
from suite.config import DataConfig, RunSpec, Runtime
from suite.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from suite.evaluation.finished import FinishedRun
from suite.interface.rng import generator
from suite.store import evaluations

IMAGES_AT_ONCE = 250
"""Part of what the random numbers of an image depend on."""
SEED = 0
KEPT_BYTES = 2**31
"""Corrupted images of a test split are kept for the next run while they take no more: those of
CIFAR take 1.4 GB."""
WHICH_IMAGES = {
    *("name", "contents", "classes", "class_block", "image_size", "decoder"),
    *("image_column", "label_column"),
}


class Robustness:
    """The measurement. All runs see the same corrupted images."""

    kind = evaluations.ROBUSTNESS

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._of: str | None = None
        self._missing: dict[str, data.DataError] = {}
        self._clean: list[tuple[Tensor, Tensor]] = []
        self._kept: dict[tuple[int, str, int], Tensor] = {}

    def protocol(self, spec: RunSpec) -> dict[str, Any]:
        """Which corruptions; the images are those that the run itself is tested on."""
        return {"split": "test", "corruptions": list(CORRUPTIONS), "seed": SEED}

    def figures(self, network: FinishedRun) -> dict[str, Any]:
        """Accuracy for each corruption and severity, their mean, and without corruption."""
        self._load(network.spec.config.data)
        clean, images = 0, 0
        hits = {kind: [0] * SEVERITIES for kind in CORRUPTIONS}
        for number, (raw, labels) in enumerate(self._clean):
            images += len(labels)
            clean += _right(network, raw, labels)
            for kind, of_kind in hits.items():
                for severity in range(1, SEVERITIES + 1):
                    changed = self._corrupted(number, kind, severity)
                    of_kind[severity - 1] += _right(network, changed, labels)
        found = {
            kind: {str(severity): 100 * hit / images for severity, hit in enumerate(of_kind, 1)}
            for kind, of_kind in hits.items()
        }
        all_hits = sum(map(sum, hits.values()))
        return {
            "top1_percent": 100 * all_hits / (images * SEVERITIES * len(hits)),
            "clean_top1_percent": 100 * clean / images,
            "corruptions": found,
            "test_images": images,
        }

    def _load(self, config: DataConfig) -> None:
        """The test images of a run as bytes, unless they are those of the run before."""
        of = config.model_dump_json(include=WHICH_IMAGES)
        if of in self._missing:
            raise self._missing[of]  # not looked for, and not downloaded, once for each run
        if of != self._of:
            self._kept.clear()
            try:
                self._clean = list(_test_images(config, self._runtime))
            except data.DataError as error:
                self._missing[of] = error
                raise
            self._of = of

    def _corrupted(self, number: int, kind: str, severity: int) -> Tensor:
        """Bytes of batch ``number``; its random numbers depend on these three alone."""
        key = (number, kind, severity)
        if key in self._kept:
            return self._kept[key]
        stream = generator(SEED, kind, severity, number)
        changed = corrupted(self._clean[number][0], kind, severity, stream)
        whole = sum(raw.numel() for raw, _ in self._clean) * SEVERITIES * len(CORRUPTIONS)
        if whole <= KEPT_BYTES:
            self._kept[key] = changed
        return changed


def _test_images(config: DataConfig, runtime: Runtime) -> Iterator[tuple[Tensor, Tensor]]:
    """Bytes [B, C, S, S] and labels [B], in the order of the split."""
    wanted = config.model_copy(update={"eval_splits": ("test",)})
    loaded = data.load(wanted, runtime.data_root, runtime.workers, runtime.data_cache)
    mean, std = (torch.tensor(it).view(-1, 1, 1) for it in (loaded.mean, loaded.std))
    with closing(loaded):
        for batch in loaded.evals["test"].batches(IMAGES_AT_ONCE):
            yield ((batch.image * std + mean) * 255).round().to(torch.uint8), batch.label


@torch.no_grad()
def _right(network: FinishedRun, raw: Tensor, labels: Tensor) -> int:
    """How many of these images [B, C, S, S] uint8 are classified rightly."""
    with network.fabric.autocast():
        logits = network.deployed(network.normalised(raw.float() / 255))
    return int((logits.argmax(dim=1).cpu() == labels).sum())
