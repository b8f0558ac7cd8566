"""CRD: the student's embedding of an image must pick out the teacher's among many others.

Two banks hold an embedding of every training image, one by the student and one by the teacher.
Each network's embedding of an image is the anchor, the other network's bank gives the positive
and the negatives. The reference gathers B x (K + 1) bank rows, half a gigabyte at the paper's
sizes; here one matrix product scores all images and the wanted scores are picked out.

Shapes: B batch, N training images, K negatives, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._losses import in_float32, unit_rows
from suite.interface.distiller import (
    Batch,
    Distiller,
    MethodConfig,
    Progress,
    Reads,
    Setup,
    UnsupportedPair,
    tunable,
)
from suite.interface.paper import Paper
from suite.interface.rng import Draws
from suite.interface.taps import Outputs

EPSILON = 1e-7  # beside the noise density, RepDistiller crd/criterion.py
DENSE_SCORES = 32  # score the whole bank up to so many rows a negative (measured on a CPU)
CHUNK = 2**24  # numbers gathered at a time above that
MOST_NEGATIVES = 2**24  # more than any training set here has images (ImageNet-21k: 14 million)
DENSE_KEYS = 2**18  # draw without replacement, by one random key an image, up to so many images


def crd_loss(
    anchor: Tensor,
    bank: Tensor,
    contrast_index: Tensor,
    log_z: Tensor,
    temperature: float,
    gather: Callable[[Tensor], Tensor] = lambda rows: rows,
) -> tuple[Tensor, Tensor]:
    """Noise-contrastive loss of one side (Tian et al. 2020, eq. 9) and the log Z it used.

    anchor [B, D] and bank [N, D] have rows of unit length; contrast_index [B, K + 1] holds rows of
    the bank, the positive first. With P = exp(similarity / T) / Z and noise K / N, the loss is
    -1/B sum [log P / (P + K/N) at the positive + sum_k log (K/N) / (P + K/N) at the negatives].
    A log_z of +inf means that Z is to be measured, as N times the mean of exp(similarity / T) over
    the rows of all ranks (``gather``). Z and the bank have no gradient. The gradient is computed
    here in closed form, so the bank may be overwritten before the backward pass.
    """
    anchor, images, negatives = in_float32(anchor), len(bank), contrast_index.shape[1] - 1
    noise = negatives / images
    with torch.no_grad():
        scores = _scores(anchor, bank, contrast_index).div_(temperature)  # [B, K + 1]
        row_means = gather(scores.logsumexp(1)) - math.log(negatives + 1)
        measured = row_means.logsumexp(0) - math.log(len(row_means)) + math.log(images)
        log_z = torch.where(torch.isinf(log_z), measured.to(log_z.dtype), log_z)
        log_odds = scores.sub_(log_z + math.log(noise + EPSILON))  # log(P / (K/N + eps))
        # -log of P / (P + c) is softplus(x) - x, and of c / (P + c) is softplus(x), x = log(P / c)
        total = functional.softplus(log_odds).sum() - log_odds[:, 0].sum()
        loss = total / len(anchor) - negatives * math.log(noise / (noise + EPSILON))
        slope = log_odds.sigmoid_()
        slope[:, 0] -= 1
        gradient = _pull_back(slope, bank, contrast_index) / (len(anchor) * temperature)
    return loss + ((anchor - anchor.detach()) * gradient).sum(), log_z


def _scores(anchor: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Inner products of each anchor with its rows of the bank: [B, K + 1]."""
    if len(bank) <= DENSE_SCORES * index.shape[1]:
        return (anchor @ bank.to(anchor.dtype).T).gather(1, index)
    dtype = anchor.dtype
    chunks = [bank[index[rows]].to(dtype) @ anchor[rows, :, None] for rows in _chunks(bank, index)]
    return torch.cat(chunks).squeeze(2)


def _pull_back(slope: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Transpose of :func:`_scores`: sum over k of slope[b, k] bank[index[b, k]], [B, D]."""
    if len(bank) <= DENSE_SCORES * index.shape[1]:
        return _in_columns(slope, index, len(bank)) @ bank.to(slope.dtype)
    dtype = slope.dtype
    chunks = [slope[rows, None] @ bank[index[rows]].to(dtype) for rows in _chunks(bank, index)]
    return torch.cat(chunks).squeeze(1)


def _in_columns(slope: Tensor, index: Tensor, images: int) -> Tensor:
    """[B, N]: slope [B, K + 1] added up in the columns that index [B, K + 1] names."""
    columns = slope.new_zeros(len(slope), images)
    if index.device.type == "cpu":
        return columns.scatter_add_(1, index, slope)  # the rows side by side
    # As a vector: of matrices, torch up to 2.10 copies sizes from the host, in deterministic mode
    first = images * torch.arange(len(index), device=index.device)[:, None]
    columns.view(-1).scatter_add_(0, (first + index).flatten(), slope.flatten())
    return columns


def _chunks(bank: Tensor, index: Tensor) -> Iterator[slice]:
    step = max(CHUNK // (index.shape[1] * bank.shape[1]), 1)
    return (slice(first, first + step) for first in range(0, len(index), step))


@torch.no_grad()
def update_bank(bank: Tensor, index: Tensor, embedding: Tensor, momentum: float) -> None:
    """Move rows ``index`` [B] of the bank to unit(momentum old + (1 - momentum) new), in place.

    Of several embeddings [B, D] of one image the last counts, on every device.
    """
    same = index[:, None] == index[None, :]  # [B, B]
    last = (same * torch.arange(len(index), device=index.device)).amax(1)
    moved = momentum * in_float32(bank[index]) + (1 - momentum) * in_float32(embedding[last])
    bank.index_copy_(0, index, unit_rows(moved).to(bank.dtype))


class ContrastSampler(nn.Module):
    """Draws for each image its positive and K images of other classes, on the device.

    Negatives are uniform and without replacement: on a CPU by a partial shuffle for each row; on
    other devices by the smallest random keys of one for each training image, up to
    :data:`DENSE_KEYS` of them. With more they come with replacement, where at ImageNet's size less
    than one in a hundred comes twice. ``positive`` is ``exact``, the image itself, or ``relax``,
    any image of its class. If some class leaves fewer than ``negatives`` images of others, every
    image is given that many. Raises :class:`UnsupportedPair` if that is none.
    """

    labels: Tensor  # [N]
    by_class: Tensor  # [N] images sorted by class
    count: Tensor  # [classes]
    first: Tensor  # [classes] where the class begins in by_class

    def __init__(self, labels: Tensor, negatives: int, positive: Literal["exact", "relax"]) -> None:
        super().__init__()
        count = torch.bincount(labels)
        self.negatives = min(negatives, len(labels) - int(count.max()))
        self.relax = positive == "relax"
        if self.negatives == 0:
            raise UnsupportedPair("crd: negatives need training images of at least two classes")
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("by_class", labels.argsort(stable=True), persistent=False)
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("first", count.cumsum(0) - count, persistent=False)

    def forward(self, index: Tensor, draws: Draws) -> Tensor:
        """Images ``index`` [B] -> contrast_index [B, K + 1], the positive first."""
        label = self.labels[index]
        if index.device.type == "cpu":
            negatives = self._by_shuffle(label, draws)
        elif len(self.labels) <= DENSE_KEYS:
            negatives = self._by_keys(label, draws)
        else:
            negatives = self._by_ranks(label, draws)
        positive = index
        if self.relax:
            rank = draws.integers(len(index), high=2**62) % self.count[label]
            positive = self.by_class[self.first[label] + rank]
        return torch.cat([positive[:, None], negatives], 1)

    def _by_keys(self, label: Tensor, draws: Draws) -> Tensor:
        worst = 2**31
        keys = draws.integers(len(label), len(self.labels), high=worst)  # [B, N]
        keys.masked_fill_(label[:, None] == self.labels, worst)
        return keys.topk(self.negatives, largest=False, sorted=False).indices

    def _by_shuffle(self, label: Tensor, draws: Draws) -> Tensor:
        seeds, others = draws.integers(len(label), high=2**62), len(self.labels) - self.count[label]
        drawn = [
            np.random.default_rng(seed).choice(many, self.negatives, replace=False, shuffle=False)
            for seed, many in zip(seeds.tolist(), others.tolist(), strict=True)
        ]
        return self._of_others(torch.from_numpy(np.stack(drawn)), label)

    def _by_ranks(self, label: Tensor, draws: Draws) -> Tensor:
        rank = draws.integers(len(label), self.negatives, high=2**62)
        return self._of_others(rank % (len(self.labels) - self.count[label, None]), label)

    def _of_others(self, rank: Tensor, label: Tensor) -> Tensor:
        """The images with these ranks [B, K] among those of other classes than ``label`` [B]."""
        own, first = self.count[label, None], self.first[label, None]  # [B, 1]
        return self.by_class[torch.where(rank < first, rank, rank + own)]


class CRDConfig(MethodConfig):
    """Values of RepDistiller (``-r 1 -a 0 -b 0.8``) and of Tian et al. 2020, Sec. 4."""

    feature_dim: int = tunable(128, low=32, high=512, log=True, ge=1)
    negatives: int = tunable(16384, low=256, high=16384, log=True, ge=1, le=MOST_NEGATIVES)
    """K; with fewer images of other classes in the training set, all that can be had."""
    temperature: float = tunable(0.07, low=0.02, high=0.5, log=True, gt=0)
    momentum: float = tunable(0.5, low=0.0, high=0.9, ge=0, lt=1)  # of the banks
    bank_dtype: Literal["float32", "float16"] = "float32"
    """float16 halves the banks; a loss is computed in float32 all the same."""
    mode: Literal["exact", "relax"] = "exact"
    """The positive: the image itself, or any image of its class."""
    ce_weight: float = tunable(1.0, low=0.0, high=1.0, ge=0)
    crd_weight: float = tunable(0.8, low=0.05, high=5.0, log=True, ge=0)


class CRD(Distiller):
    """Contrastive representation distillation on the pooled features."""

    paper = Paper(
        authors="Yonglong Tian and Dilip Krishnan and Phillip Isola",
        title="Contrastive Representation Distillation",
        venue="ICLR",
        year=2020,
        arxiv="1910.10699",
    )
    reads = Reads.FEATURES
    taps = ("pooled",)
    Config = CRDConfig
    config: CRDConfig
    student_bank: Tensor  # [N, D]
    teacher_bank: Tensor  # [N, D]
    student_log_z: Tensor  # scalar of the student's anchors; +inf until the first batch
    teacher_log_z: Tensor  # scalar of the teacher's anchors

    def __init__(self, config: CRDConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        teacher, width = setup.require_teacher(), config.feature_dim
        self.sampler = ContrastSampler(setup.train_labels, config.negatives, config.mode)
        self.student_embedding = nn.Linear(setup.student.shapes["pooled"][0], width)
        self.teacher_embedding = nn.Linear(teacher.shapes["pooled"][0], width)
        dtype = getattr(torch, config.bank_dtype)
        bound = math.sqrt(3 / width)  # rows of about unit length (RepDistiller crd/memory.py)
        for side in ("student", "teacher"):
            bank = torch.empty(setup.train_size, width, device=setup.draws.device, dtype=dtype)
            bank.uniform_(-bound, bound, generator=setup.draws.generator)
            self.register_buffer(f"{side}_bank", bank)
            self.register_buffer(f"{side}_log_z", torch.tensor(math.inf))
        self._draws = setup.draws

    @classmethod
    def memory(cls, config: CRDConfig, train_size: int) -> int:
        """Two banks, and two whole numbers an image to draw negatives by."""
        number = torch.finfo(getattr(torch, config.bank_dtype)).bits // 8
        return train_size * 2 * (config.feature_dim * number + torch.int64.itemsize)

    def losses(
        self, batch: Batch, student: Outputs, teacher: Outputs, progress: Progress
    ) -> dict[str, Tensor]:
        """``ce`` and ``crd``; moves the banks."""
        settings = self.config
        contrast_index = self.sampler(batch.index, self._draws)
        distance = self.contrast(student["pooled"], teacher["pooled"], batch.index, contrast_index)
        return {
            "ce": settings.ce_weight * functional.cross_entropy(student.logits, batch.truth),
            "crd": settings.crd_weight * distance,
        }

    def contrast(
        self, student: Tensor, teacher: Tensor, index: Tensor, contrast_index: Tensor
    ) -> Tensor:
        """Both sides' loss of pooled features [B, .] of images ``index``; then moves the banks."""
        of_student = unit_rows(self.student_embedding(student))  # [B, D]
        of_teacher = unit_rows(self.teacher_embedding(teacher))
        loss = self._side(of_student, self.teacher_bank, self.student_log_z, contrast_index)
        loss = loss + self._side(of_teacher, self.student_bank, self.teacher_log_z, contrast_index)
        everyone, momentum = self.gather(index), self.config.momentum
        update_bank(self.student_bank, everyone, self.gather(of_student.detach()), momentum)
        update_bank(self.teacher_bank, everyone, self.gather(of_teacher.detach()), momentum)
        return loss

    def _side(self, anchor: Tensor, bank: Tensor, log_z: Tensor, contrast_index: Tensor) -> Tensor:
        """The anchors' loss against the other network's bank; fills ``log_z`` the first time."""
        loss, used = crd_loss(
            anchor, bank, contrast_index, log_z, self.config.temperature, self.gather
        )
        log_z.copy_(used)
        return loss
