"""What a recipe does to whole batches, on the device: erased patches, mixed images, soft labels.

Random erasing, mixup and CutMix are timm's. They draw from Python's, NumPy's and torch's global
streams, which are seeded here from (seed, epoch, step) and from (seed, epoch, image), so that a
batch is the same on one rank or several, alone or in a pack, in one go or resumed.

Shapes: B images of this rank, G images of all ranks, K classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from lightning_fabric import Fabric
from timm.data import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from suite.config import DataConfig
from suite.device import distributed
from suite.interface.distiller import Batch
from suite.interface.rng import seeded_libraries


class Mixing:
    """The batches of a run as its ``data`` section wants them."""

    def __init__(self, config: DataConfig, num_classes: int, seed: int, fabric: Fabric) -> None:
        self._config = config
        self._num_classes = num_classes
        self._seed = seed
        self._fabric = fabric

    def __call__(self, batch: Batch, epoch: int, step: int) -> Batch:
        """The batch of a step, changed in place; as it is where the recipe says nothing."""
        config = self._config
        if config.random_erasing:
            self._erase(batch, epoch)
        if config.mixup or config.cutmix:
            return self._mix(batch, epoch, step)
        if config.label_smoothing:
            return self._with(batch, torch.eye(len(batch), device=batch.label.device))
        return batch

    def _erase(self, batch: Batch, epoch: int) -> None:
        erasing = RandomErasing(  # type: ignore[no-untyped-call]
            self._config.random_erasing, mode=self._config.random_erasing_mode, device="cpu"
        )
        for name, images in {"": batch.image, **batch.views}.items():
            for image, index in zip(images, batch.index.tolist(), strict=True):
                with seeded_libraries(self._seed, "erase", epoch, name, index):
                    erasing(image)

    def _mix(self, batch: Batch, epoch: int, step: int) -> Batch:
        """Mix with the images of all ranks; of an odd number of images the last stays as it is."""
        config, rank, ranks = self._config, self._fabric.global_rank, self._fabric.world_size
        label, index, image, *others = (
            distributed.gather(self._fabric, it)
            for it in (batch.label, batch.index, batch.image, *batch.views.values())
        )
        even = len(label) - len(label) % 2
        mix = Mixup(  # type: ignore[no-untyped-call]
            mixup_alpha=config.mixup,
            cutmix_alpha=config.cutmix,
            prob=config.mix_probability,
            switch_prob=config.cutmix_share,
            label_smoothing=0.0,
            num_classes=even,
        )
        shares = torch.eye(len(label), device=label.device)  # [G, G]: of which images a mix is made
        rows = torch.arange(even, device=label.device)
        for view in (image, *others):  # all alike
            with seeded_libraries(self._seed, "mix", epoch, step):
                view[:even], shares[:even, :even] = mix(view[:even], rows)
        whole = self._with(Batch(image, label, index), shares)
        image, label, index, target, *others = (
            it[rank::ranks] for it in (whole.image, whole.label, whole.index, whole.truth, *others)
        )
        return Batch(image, label, index, dict(zip(batch.views, others, strict=True)), target)

    def _with(self, batch: Batch, shares: Tensor) -> Batch:
        """The batch with the target of images made of ``shares`` [B, B] of those of the batch."""
        smoothing, classes = self._config.label_smoothing, self._num_classes
        own = torch.nn.functional.one_hot(batch.label, classes).to(shares.dtype)
        target = (shares @ own) * (1 - smoothing) + smoothing / classes
        largest = shares.argmax(1)
        label, index = batch.label[largest], batch.index[largest]
        return replace(batch, label=label, index=index, target=target)
