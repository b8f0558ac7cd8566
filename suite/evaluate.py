"""Accuracy of a network on a split, and its agreement with the teacher."""

from __future__ import annotations

from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional

from suite.data import EvalImages

BATCH_SIZE = 500
"""Images per evaluation batch; changes no number beyond floating-point order."""


@torch.no_grad()
def evaluate(
    fabric: Fabric, network: nn.Module, images: EvalImages, teacher_choice: Tensor | None = None
) -> dict[str, float]:
    """Top-1, top-5 [percent] and mean negative log-likelihood [nats] over the whole split.

    ``network`` maps images [B, ...] to logits [B, K] and is put into evaluation mode for the
    time. ``teacher_choice`` [M] holds the teacher's predicted class of every image of the split;
    with it, ``agreement_percent`` is the share of images on which both choose the same class.
    """
    training = network.training
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=fabric.device)
    for number, batch in enumerate(images.batches(BATCH_SIZE)):
        if number % fabric.world_size != fabric.global_rank:
            continue
        with fabric.autocast():
            logits = network(batch.image)
        logits = logits.float()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices  # [B, 5]
        hits = ranked == batch.label[:, None]
        sums[0] += hits[:, 0].sum()
        sums[1] += hits.sum()
        sums[2] += functional.cross_entropy(logits, batch.label, reduction="sum")
        if teacher_choice is not None:
            sums[3] += (ranked[:, 0] == teacher_choice[batch.index]).sum()
    network.train(training)
    totals = cast(Tensor, fabric.all_reduce(sums, reduce_op="sum"))
    top1, top5, nll, agreement = (totals / len(images)).tolist()
    figures = {"top1_percent": 100 * top1, "top5_percent": 100 * top5, "nll": nll}
    return figures if teacher_choice is None else figures | {"agreement_percent": 100 * agreement}
