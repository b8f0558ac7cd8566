"""Predictions taken apart at a target class, and losses of the parts (``dkd``, ``nkd``, ``rld``).

Everything is computed from log-odds and log-softmax over the other classes, so that no
probability underflows.

Shapes: B batch, K classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from baselines._losses import at_label, in_float32, is_label


class Decoupled(NamedTuple):
    """Softened predictions of one network, taken apart at the target class."""

    log_odds: Tensor  # [B], log(p_target / (1 - p_target))
    others: Tensor  # [B, K], log-probabilities among the non-target classes; 0 at the target


def decouple(logits: Tensor, label: Tensor, temperature: float) -> Decoupled:
    """Take softmax(logits / T) of [B, K] apart at ``label`` [B]."""
    logits = in_float32(logits) / temperature
    target = is_label(label, logits.shape[1])  # [B, K]
    without_target = logits.masked_fill(target, -math.inf)
    odds = at_label(logits, label) - without_target.logsumexp(1)
    return Decoupled(odds, functional.log_softmax(without_target, 1).masked_fill(target, 0.0))


def tckd_loss(student: Decoupled, teacher: Decoupled) -> Tensor:
    """KL of the pairs (p_target, 1 - p_target), mean over the batch (Zhao et al. 2022, eq. 5)."""
    p, q = teacher.log_odds, student.log_odds
    hit = p.sigmoid() * (functional.logsigmoid(p) - functional.logsigmoid(q))
    miss = (-p).sigmoid() * (functional.logsigmoid(-p) - functional.logsigmoid(-q))
    return (hit + miss).mean()


def nckd_loss(student: Decoupled, teacher: Decoupled) -> Tensor:
    """KL of the distributions over the non-target classes, mean over the batch (eq. 5)."""
    # At the target class both log-probabilities are 0 by convention, so it adds nothing.
    divergence = teacher.others.exp() * (teacher.others - student.others)
    return divergence.sum(1).mean()


def soft_target_loss(student_logits: Tensor, teacher_logits: Tensor, label: Tensor) -> Tensor:
    """-p_t(y) log p_s(y) at temperature 1, mean over the batch.

    logits [B, K], label [B]. The teacher's probability has no gradient.
    """
    student = at_label(functional.log_softmax(in_float32(student_logits), 1), label)
    teacher = at_label(functional.softmax(in_float32(teacher_logits), 1), label)
    return -(teacher.detach() * student).mean()
