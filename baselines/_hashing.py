"""Locality-sensitive hashing of feature vectors: random hyperplanes, codes, the code loss.

h(f) = W f + b with W [bits, D] drawn once and never trained; bit k of the code of f is 1 where
h_k(f) > 0 (Wang et al. 2020, arXiv 2011.01424).

Shapes: B batch, D feature width, N training images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._losses import in_float32
from suite.interface.rng import Draws


def lower_median(rows: Tensor, *, by_order: bool) -> Tensor:
    """[N, D] -> [D], the lower of two middles, as LSHFM.

    ``by_order`` takes the value at its place in the order, which is the same number. On a GPU
    torch's median has no deterministic kernel; on a CPU it is faster.
    """
    if by_order:
        return rows.kthvalue((len(rows) + 1) // 2, dim=0).values
    return rows.median(0).values


Centre = Literal["zero", "mean", "median"]
CENTRES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda hashes: hashes.mean(0),
    "median": lambda hashes: lower_median(hashes, by_order=hashes.device.type != "cpu"),
}
MOST_BITS = 2**16
"""Eight times the most that is searched; 512 MiB of hyperplanes for features of width 2,048."""
CHUNK_VALUES = 2**24
"""Hash values held at once while the bias is measured: 64 MiB in float32."""


class HashLayer(nn.Module):
    """``bits`` random hyperplanes in ``width`` dimensions, entries ~ N(0, ``std``^2).

    Weight and bias are buffers, the same on all ranks: saved in checkpoints, never trained.
    """

    weight: Tensor  # [bits, D]
    bias: Tensor  # [bits]

    def __init__(self, width: int, bits: int, std: float, draws: Draws) -> None:
        super().__init__()
        # Not draws.normal, whose rows are those of a batch and differ between ranks.
        weight = torch.randn(bits, width, generator=draws.generator, device=draws.device)
        self.register_buffer("weight", std * weight)
        self.register_buffer("bias", weight.new_zeros(bits))

    def forward(self, features: Tensor) -> Tensor:
        """features [..., D] -> hash values [..., bits]."""
        return functional.linear(features, self.weight, self.bias)

    @torch.no_grad()
    def centre_on(self, bank: Tensor, centre: Centre) -> None:
        """Set b so that every bit splits the vectors ``bank`` [N, D] at their mean or median.

        Works through the bits in chunks: N x bits values need not fit into memory.
        """
        self.bias.zero_()
        if centre == "zero":
            return
        rows = max(CHUNK_VALUES // max(len(bank), 1), 1)
        chunks = [CENTRES[centre](bank @ part.T) for part in torch.split(self.weight, rows)]
        self.bias.copy_(-torch.cat(chunks))

    @torch.no_grad()
    def follow(self, features: Tensor, centre: Centre, momentum: float) -> None:
        """Move b towards the bias that centres ``features`` [B, D], by the share ``momentum``."""
        if centre != "zero":
            centres = CENTRES[centre](functional.linear(features, self.weight))
            self.bias.lerp_(-centres, momentum)


def codes(hashes: Tensor) -> Tensor:
    """Bits 0.0 and 1.0 of hash values of any shape; no gradient."""
    return (hashes.detach() > 0).to(hashes.dtype)


def code_loss_per_row(hashes: Tensor, target: Tensor) -> Tensor:
    """[B, bits] x 2 -> [B]: binary cross-entropy of ``hashes`` against the codes of ``target``.

    Wang et al. 2020, eq. 8, before the mean over the batch.
    """
    hashes = in_float32(hashes)
    losses = functional.binary_cross_entropy_with_logits(
        hashes, codes(in_float32(target)), reduction="none"
    )
    return losses.mean(1)


def differing_loss_per_row(hashes: Tensor, target: Tensor) -> Tensor:
    """[B, bits] x 2 -> [B]: mean over all bits of |h| where the codes differ, 0 where they agree.

    The code loss minus its value for the feature's own codes: softplus(|h|) - softplus(-|h|) = |h|.
    So it has no gradient where nothing is to be learnt.
    """
    hashes = in_float32(hashes)
    signs = 2 * codes(in_float32(target)) - 1
    return functional.relu(-hashes * signs).mean(1)


def mean_over(chosen: Tensor, per_row: Tensor) -> Tensor:
    """Mean of ``per_row`` [B] over the rows where ``chosen`` [B] bool; 0 when there is none.

    The reference divides by the number of rows and gives nan for none.
    """
    weight = chosen.to(per_row.dtype)
    return (per_row * weight).sum() / weight.sum().clamp(min=1)


def code_health(hashes: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Share of equal bits, and balance of the target's bits: mean of 4 p (1 - p), 1 at one half."""
    ones = codes(target).flatten(0, -2).mean(0)
    return {
        "hash_agreement": (codes(hashes) == codes(target)).float().mean(),
        "code_balance": (4 * ones * (1 - ones)).mean(),
    }
