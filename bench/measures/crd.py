"""CRD's contrast at the paper's sizes: banks 50,000 x 128, 16,384 negatives, batch 64.

The gathered form, as the field writes it, fetches B x (K + 1) rows of each bank and multiplies.
Both get the same negatives. Drawing them is timed apart: the field draws them image by image, with
numpy's first generator.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from baselines.crd import ContrastSampler, crd_loss, update_bank
from bench import memory
from bench.registry import Figure, Settings
from bench.timing import in_turns, ratios, spread
from suite.interface.rng import Draws, generator

IMAGES, WIDTH, NEGATIVES, BATCH, CLASSES, TEMPERATURE = 50_000, 128, 16_384, 64, 100, 0.07


def measure(settings: Settings) -> Iterator[Figure]:
    """Forward and backward of both sides and bank update; memory first, in a fresh process."""
    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    before = _memory(device)
    work = Contrast(device)
    work.ours()
    ours_peak = _memory(device) - before
    rounds = 2 * settings.rounds
    note = "banks, forward, backward, update"
    yield Figure("memory, ours", ours_peak / 1e9, "GB", at_most=0.5, note=note)
    work.gathered()
    yield Figure("memory, with the gathered form", (_memory(device) - before) / 1e9, "GB")
    seconds = in_turns(
        {
            "ours": work.ours,
            "gathered": work.gathered,
            "draw, ours": work.draw,
            "draw, image by image": work.draw_by_image,
        },
        rounds,
    )
    for name, taken in seconds.items():
        yield Figure(name, spread([1000 * it for it in taken]), "ms")
    faster = ratios(seconds["gathered"], seconds["ours"])
    yield Figure("gathered / ours", faster, "x", at_least=10.0)
    theirs, ours = (
        [loss + draw for loss, draw in zip(seconds[one], seconds[two], strict=True)]
        for one, two in (("gathered", "draw, image by image"), ("ours", "draw, ours"))
    )
    yield Figure("gathered / ours, draws included", ratios(theirs, ours), "x")


class Contrast:
    """Both banks, and one batch's pooled embeddings."""

    def __init__(self, device: torch.device) -> None:
        stream = generator(0, "bench crd")

        def rows(count: int) -> Tensor:
            drawn = torch.randn(count, WIDTH, generator=stream)
            return nn.functional.normalize(drawn, dim=1).to(device)

        labels = (torch.arange(IMAGES) % CLASSES).to(device)
        self.banks = [rows(IMAGES), rows(IMAGES)]
        self.anchors = [rows(BATCH).requires_grad_(), rows(BATCH).requires_grad_()]
        self.index = torch.randperm(IMAGES, generator=stream)[:BATCH].to(device)
        self.sampler = ContrastSampler(labels, NEGATIVES, "exact")
        self.draws = Draws(generator(0, "bench draws", device=device))
        self.contrast_index = self.sampler(self.index, self.draws)
        self.others = [
            torch.nonzero(labels != labels[it]).flatten().cpu().numpy() for it in self.index
        ]
        self.numpy = np.random.RandomState(0)
        self.log_z = torch.tensor(float("inf"), device=device)

    def ours(self) -> None:
        """The suite's CRD."""
        index = self.contrast_index
        loss = torch.zeros((), device=self.index.device)
        for anchor, bank in zip(self.anchors, reversed(self.banks), strict=True):
            loss = loss + crd_loss(anchor, bank, index, self.log_z, TEMPERATURE)[0]
        self._finish(loss)

    def gathered(self) -> None:
        """Rows fetched, one product a row, autograd."""
        index = self.contrast_index
        noise = NEGATIVES / IMAGES
        loss = torch.zeros((), device=self.index.device)
        for anchor, bank in zip(self.anchors, reversed(self.banks), strict=True):
            fetched = bank.index_select(0, index.flatten()).view(BATCH, NEGATIVES + 1, WIDTH)
            scores = torch.bmm(fetched, anchor[:, :, None]).div(TEMPERATURE).exp().squeeze(2)
            share = scores / (scores.mean().detach() * IMAGES)
            positive = (share[:, 0] / (share[:, 0] + noise)).log()
            negative = (noise / (share[:, 1:] + noise)).log()
            loss = loss - (positive.sum() + negative.sum()) / BATCH
        self._finish(loss)

    def draw(self) -> None:
        """Positives and negatives of the batch, by the suite."""
        self.sampler(self.index, self.draws)

    def draw_by_image(self) -> None:
        """As RepDistiller's data set does in ``__getitem__``."""
        for others in self.others:
            self.numpy.choice(others, NEGATIVES, replace=False)

    def _finish(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        for anchor, bank in zip(self.anchors, self.banks, strict=True):
            anchor.grad = None
            update_bank(bank, self.index, anchor.detach(), 0.5)


def _memory(device: torch.device) -> int:
    """Bytes at the peak so far: of the GPU, or of the process.

    Not ``ru_maxrss`` where Linux says better: a new process starts with its parent's.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if memory.STATUS.is_file():
        return memory.resident("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
