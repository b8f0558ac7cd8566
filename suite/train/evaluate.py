"""Accuracy of a network on a split, and its agreement with the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from suite.data import EvalImages

BATCH_SIZE = 500
"""Images per evaluation batch; changes no number beyond floating-point order."""


@dataclass(frozen=True)
class Evaluation:
    """A network on a split."""

    figures: dict[str, float]
    """``top1_percent``, ``top5_percent``, ``nll`` (mean negative log-likelihood, nats) and, with a
    teacher, ``agreement_percent``: the share of images on which both choose the same class."""
    choice: Tensor  # [M] int64: the predicted class of every image, in the order of the split


@torch.no_grad()
def evaluate(
    fabric: Fabric, network: nn.Module, images: EvalImages, teacher_choice: Tensor | None = None
) -> Evaluation:
    """Evaluate ``network`` (images [B, ...] -> logits [B, K]) over the whole split.

    The ranks share the batches and all get the same answer. The network is put into evaluation
    mode for the time. ``teacher_choice`` [M] holds the teacher's predicted classes.
    """
    training = network.training
    network.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=fabric.device)
    choice = torch.zeros(len(images), dtype=torch.int64, device=fabric.device)
    for batch in images.batches(BATCH_SIZE, fabric.global_rank, fabric.world_size):
        with fabric.autocast():
            logits = network(batch.image)
        logits = logits.float()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices  # [B, 5]
        hits = ranked == batch.label[:, None]
        sums[0] += hits[:, 0].sum()
        sums[1] += hits.sum()
        sums[2] += functional.cross_entropy(logits, batch.label, reduction="sum")
        choice[batch.index] = ranked[:, 0]
    network.train(training)
    totals = cast(Tensor, fabric.all_reduce(sums, reduce_op="sum"))
    choice = cast(Tensor, fabric.all_reduce(choice, reduce_op="sum"))  # others hold zeros
    top1, top5, nll = (totals / len(images)).tolist()
    figures = {"top1_percent": 100 * top1, "top5_percent": 100 * top5, "nll": nll}
    if teacher_choice is not None:
        agreement = (choice == teacher_choice).double().mean()
        figures["agreement_percent"] = 100 * float(agreement)
    return Evaluation(figures, choice)
