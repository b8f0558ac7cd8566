"""Accuracy of a network on a split, its agreement with the teacher, and all its predictions.

Legend: B images of a batch, M images of the split, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from suite.data import EvalImages
from suite.store.predictions import Predictions

BATCH_SIZE = 500
"""Images per evaluation batch; changes no number beyond floating-point order."""


@dataclass(frozen=True)
class Evaluation:
    """A network on a split."""

    figures: dict[str, float]
    """``top1_percent``, ``top5_percent``, ``nll`` (mean negative log-likelihood, nats) and, with a
    teacher, ``agreement_percent``: the share of images on which both predict the same class."""
    predictions: Predictions


@torch.no_grad()
def evaluate(
    fabric: Fabric,
    network: nn.Module,
    images: EvalImages,
    teacher_predicted: Tensor | None = None,
    teacher: nn.Module | None = None,
) -> Evaluation:
    """Evaluate ``network`` (images [B, ...] -> logits [B, K]) over the whole split.

    The ranks share the batches and all get the same answer. The network is put into evaluation
    mode for the time. ``teacher_predicted`` [M] holds the teacher's classes. With ``teacher``, the
    predictions say how far its probabilities are from the network's.
    """
    training = network.training
    network.eval()
    hits = torch.zeros(2, dtype=torch.float64, device=fabric.device)  # in one, in five
    # predicted, label, confidence, nll, teacher_kl: ranks hold zeros for images of the others
    rows = torch.zeros(5, len(images), dtype=torch.float64, device=fabric.device)
    for batch in images.batches(BATCH_SIZE, fabric.global_rank, fabric.world_size):
        with fabric.autocast():
            logits = network(batch.image)
            reference = None if teacher is None else teacher(batch.image)
        log_p = logits.float().log_softmax(dim=1)  # [B, K]
        ranked = log_p.topk(min(5, log_p.shape[1]), dim=1)  # [B, 5]
        right = ranked.indices == batch.label[:, None]
        hits += torch.stack([right[:, 0].sum(), right.sum()])
        own = [ranked.indices[:, 0], batch.label, ranked.values[:, 0].exp()]
        own.append(functional.nll_loss(log_p, batch.label, reduction="none"))
        own.append(torch.zeros_like(own[-1]) if reference is None else _kl(reference, log_p))
        rows[:, batch.index] = torch.stack([row.double() for row in own])
    network.train(training)
    hits = cast(Tensor, fabric.all_reduce(hits, reduce_op="sum"))
    rows = cast(Tensor, fabric.all_reduce(rows, reduce_op="sum"))
    sums = [hits, rows[3].sum()[None]]
    if teacher_predicted is not None:
        sums.append((rows[0] == teacher_predicted).sum()[None])
    found = torch.cat([*sums, rows.flatten()]).cpu()  # waits for the device, once
    means, rows = (found[: -rows.numel()] / len(images)).tolist(), found[-rows.numel() :]
    names = ("top1_percent", "top5_percent", "nll", "agreement_percent")
    figures = dict(zip(names, means, strict=False))
    figures = {name: it if name == "nll" else 100 * it for name, it in figures.items()}
    rows = rows.view(-1, len(images))
    return Evaluation(figures, _predictions(rows, with_teacher=teacher is not None))


def _kl(teacher_logits: Tensor, log_p: Tensor) -> Tensor:
    """KL(teacher || network) of every image [B]; ``log_p`` [B, K] is the network's."""
    of_teacher = teacher_logits.float().log_softmax(dim=1)
    return functional.kl_div(log_p, of_teacher, reduction="none", log_target=True).sum(dim=1)


def _predictions(rows: Tensor, *, with_teacher: bool) -> Predictions:
    """``rows`` [5, M] as they are kept."""
    predicted, label, confidence, nll, teacher_kl = rows.numpy()
    return Predictions(
        predicted.astype(int),
        label.astype(int),
        confidence,
        nll,
        teacher_kl if with_teacher else None,
    )
