"""Linear probe: how well a frozen student's features serve a task that it was not trained for.

Tian et al. 2020 (CRD, Table 4): the network is frozen, and a linear classifier is trained on its
penultimate features of another data set, resized to the network's input. Their code has no such
script, and the paper no settings of it; the defaults are those of the released script for the same
table of Yang et al. 2021 (HSAKD, eval_rep.py of winycg/HSAKD).

Ours: features are computed once, of images that are not augmented (HSAKD: RandomResizedCrop and
flip in each epoch); images are normalised as in the network's own training; the accuracy is that of
the last epoch (HSAKD: of the best epoch on test images).

Shapes: N images, D width of the pooled feature, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import MultiStepLR

from suite import data
from suite.config import Columns, DataConfig, FolderContents, RunSpec, Runtime
from suite.config_base import Closed
from suite.data import Dataset
from suite.evaluation.finished import FinishedRun, task_of
from suite.interface.distiller import Batch
from suite.interface.errors import UserError
from suite.interface.rng import generator, seeded_globals
from suite.store import evaluations

IMAGES_AT_ONCE = 250
DECAY_AT = (0.3, 0.6, 0.9)  # HSAKD: after epochs 30, 60 and 90 of 100
"""Shares of the epochs after which the learning rate falls."""


class Training(Closed):
    """How the linear classifier is trained."""

    epochs: int = Field(100, ge=1)  # HSAKD
    batch_size: int = Field(64, ge=1)  # HSAKD
    lr: float = Field(0.1, gt=0)  # HSAKD
    decay: float = Field(0.1, gt=0, le=1)  # HSAKD
    """Factor of the learning rate after each of :attr:`decay_after`."""
    momentum: float = Field(0.9, ge=0, lt=1)  # HSAKD, with Nesterov
    weight_decay: float = Field(0.0, ge=0)  # HSAKD
    seed: int = Field(0, ge=0)  # ours: one start and one order for all runs

    @property
    def decay_after(self) -> list[int]:
        """Epochs, from 1."""
        return [max(1, round(share * self.epochs)) for share in DECAY_AT]


class Probe:
    """The measurement; images of the other set are read once for all runs of one input size."""

    kind = evaluations.PROBE

    def __init__(
        self, name: str, training: Training, runtime: Runtime, columns: Columns | None = None
    ) -> None:
        """``name``: a data set, or an image folder under the data root; ``columns`` of its files.

        Raises :class:`suite.data.DataError`.
        """
        self._name = name
        self._columns = columns or Columns()
        self._training = training
        self._runtime = runtime
        self._contents: FolderContents | None = data.identify(
            name, runtime.data_root, runtime.data_cache, self._columns
        )
        self._loaded: dict[int, Dataset] = {}

    def protocol(self, spec: RunSpec) -> dict[str, Any]:
        """Which images at what size, and the training of the classifier."""
        return {
            "data": self._name,
            "contents_sha256": None if self._contents is None else self._contents.sha256,
            "image_size": task_of(spec.config.data).image_shape[1],
            **self._training.model_dump(mode="json"),
            "decay_after": self._training.decay_after,
        }

    def figures(self, network: FinishedRun) -> dict[str, Any]:
        """Accuracy on the test images of the other set, after the last epoch."""
        images = self._images(network.task.image_shape[1])
        train = self._features(network, images, images.train.plain(IMAGES_AT_ONCE))
        test = self._features(network, images, images.evals["test"].batches(IMAGES_AT_ONCE))
        classifier = fit(*train, images.num_classes, self._training)
        features, labels = test
        ranked = classifier(features).topk(min(5, images.num_classes), dim=1).indices
        right = ranked == labels[:, None]  # [N, 5]
        return {
            "top1_percent": 100 * float(right[:, 0].double().mean()),
            "top5_percent": 100 * float(right.any(dim=1).double().mean()),
            "train_images": len(train[1]),
            "test_images": len(labels),
            "features": features.shape[1],
        }

    def _images(self, side: int) -> Dataset:
        if side not in self._loaded:
            config = DataConfig(
                name=self._name,
                contents=self._contents,
                train_split="trainval",
                eval_splits=("test",),
                augment="none",
                image_size=side,
                image_column=self._columns.image,
                label_column=self._columns.label,
            )
            runtime = self._runtime
            self._loaded[side] = data.load(
                config, runtime.data_root, runtime.workers, runtime.data_cache
            )
        return self._loaded[side]

    def _features(
        self, network: FinishedRun, images: Dataset, batches: Iterator[Batch]
    ) -> tuple[Tensor, Tensor]:
        """[N, D] float32 and labels [N]."""
        mean, std = (torch.tensor(it).view(-1, 1, 1) for it in (images.mean, images.std))
        found = [(network.pooled(it.image * std + mean), it.label) for it in batches]
        features, labels = (torch.cat(list(parts)) for parts in zip(*found, strict=True))
        return features, labels.to(features.device)


def fit(features: Tensor, labels: Tensor, classes: int, training: Training) -> nn.Linear:
    """A linear classifier, trained with SGD on the cross-entropy.

    Args:
        features: [N, D].
        labels: [N], 0 to ``classes - 1``.
        classes: K.
        training: How.

    Returns:
        The classifier after the last epoch, without gradients.

    Raises:
        UserError: The training diverged.
    """
    with seeded_globals(training.seed, "probe"):
        classifier = nn.Linear(features.shape[1], classes).to(features.device)
    optimizer = torch.optim.SGD(
        classifier.parameters(),
        training.lr,
        momentum=training.momentum,
        nesterov=training.momentum > 0,
        weight_decay=training.weight_decay,
    )
    schedule = MultiStepLR(optimizer, training.decay_after, training.decay)
    for epoch in range(1, training.epochs + 1):
        order = torch.randperm(len(labels), generator=generator(training.seed, "probe", epoch))
        for rows in torch.split(order.to(features.device), training.batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(classifier(features[rows]), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    if not all(bool(it.isfinite().all()) for it in classifier.parameters()):
        raise UserError(f"lr {training.lr:g}: the linear classifier diverged; give a smaller one")
    return classifier.requires_grad_(False)
