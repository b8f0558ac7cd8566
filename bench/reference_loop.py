"""A training loop as the field writes it, to compare with: nothing here is meant to be fast.

DataLoader workers with PIL transforms, eager NCHW float32, a teacher as it was trained, the loss
and the accuracies read by ``.item()`` after every step, as RepDistiller and mdistiller do.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection

import timm
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

import suite.models.zoo  # noqa: F401  (registers the CIFAR networks in timm)
from bench import pairs
from bench.registry import Settings
from bench.timing import wait
from suite.data import sets

TEMPERATURE, CE_WEIGHT, KD_WEIGHT = 4.0, 0.1, 0.9


class PilImages(TorchDataset[tuple[Tensor, int]]):
    """Bytes [N, C, H, W] as PIL images through torchvision's transforms, one at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        source = sets.find("cifar100")
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.shape[2], padding=images.shape[2] // 8),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(source.mean, source.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[row])), self.labels[row]


class PlainLoop:
    """KD of a student by an untrained teacher of the same architecture as ours."""

    def __init__(
        self,
        teacher: str,
        student: str,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        device: str,
    ) -> None:
        self.device = device
        self.teacher = timm.create_model(teacher, num_classes=100).eval().to(device)
        self.student = timm.create_model(student, num_classes=100).train().to(device)
        self.optimizer = torch.optim.SGD(
            self.student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
        )
        self.loader = DataLoader(
            PilImages(images, labels),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=2 if device == "cpu" else 8,  # RepDistiller's default is 8
            pin_memory=device != "cpu",
            persistent_workers=True,
        )
        self.batches: Iterator[list[Tensor]] = iter(self.loader)
        self.losses: list[float] = []

    def train(self, steps: int) -> None:
        """So many optimizer steps."""
        for _ in range(steps):
            image, label = self._next()
            logits = self.student(image)
            with torch.no_grad():
                teacher_logits = self.teacher(image)
            loss = CE_WEIGHT * functional.cross_entropy(logits, label)
            loss = loss + KD_WEIGHT * TEMPERATURE**2 * functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, dim=1),
                functional.softmax(teacher_logits / TEMPERATURE, dim=1),
                reduction="batchmean",
            )
            ranked = logits.topk(5, dim=1).indices == label[:, None]
            self.losses += [loss.item(), ranked[:, 0].sum().item(), ranked.sum().item()]
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def _next(self) -> tuple[Tensor, Tensor]:
        try:
            image, label = next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            image, label = next(self.batches)
        return image.to(self.device), label.to(self.device)


class PlainProcess:
    """A plain loop of the pair in a process of its own, as the field starts it.

    That is without the huge pages that the Makefile asks of glibc, which belong to the suite.
    """

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, settings))
        tunables = os.environ.pop("GLIBC_TUNABLES", None)
        try:
            process.start()
        finally:
            if tunables is not None:
                os.environ["GLIBC_TUNABLES"] = tunables
        theirs.close()
        self._process = process
        self._pipe.recv()

    def train(self, steps: int) -> None:
        """So many optimizer steps, waited for. Raises :class:`EOFError` when it has failed."""
        self._pipe.send(steps)
        self._pipe.recv()

    def close(self) -> None:
        """End it."""
        self._pipe.send(0)
        self._process.join()


def _serve(pipe: Connection[object, int], settings: Settings) -> None:
    """What the process does: ready, then steps as they are asked for, until that is 0."""
    torch.set_num_threads(settings.threads)
    images, labels = pairs.pixels(settings)
    loop = PlainLoop(
        pairs.TEACHER, pairs.STUDENT, images, labels, pairs.BATCH_SIZE, settings.device
    )
    pipe.send(None)
    while steps := pipe.recv():
        loop.train(steps)
        wait()
        pipe.send(None)
