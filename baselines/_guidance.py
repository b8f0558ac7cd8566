"""What a frozen classifier would like a feature to be: gradients of its log-probabilities.

A reader turns features x [B, C, H, W] into logits. Where it is global average pooling and a linear
layer, the gradient of sum_k q_k log p_k has a closed form, the same at every position:
(q - p) W / (temperature H W). Anything else goes through autograd.

Shapes: B batch, K classes, C channels, H and W height and width; s student, t teacher.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines._adapters import BatchNorm
from baselines._features import RunningScale
from baselines._pooling import average_pool
from suite.interface.taps import TappedModel, UnsupportedModel


class Reader(Protocol):
    """A classifier of features."""

    def logits(self, features: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, K]."""
        ...

    def gradient(self, features: Tensor, target: Tensor, temperature: float) -> Tensor:
        """d sum_k q_k log softmax(logits / temperature)_k / d features.

        Of their shape, or [B, C, 1, 1] where it is the same at every position.
        ``target`` q is [B, K], each row a distribution.
        """
        ...


@dataclass(frozen=True)
class LinearReader:
    """Global average pooling and a linear layer."""

    weight: Tensor  # [K, C]
    bias: Tensor  # [K]

    def logits(self, features: Tensor) -> Tensor:
        """See :class:`Reader`."""
        return functional.linear(features.mean((2, 3)), self.weight, self.bias)

    def gradient(self, features: Tensor, target: Tensor, temperature: float) -> Tensor:
        """See :class:`Reader`; in closed form."""
        height, width = features.shape[2:]
        missing = target - functional.softmax(self.logits(features) / temperature, dim=1)
        pull = missing @ self.weight / (temperature * height * width)  # [B, C]
        return pull[:, :, None, None]

    def after(self, weight: Tensor, bias: Tensor) -> LinearReader:
        """The reader of y where this one reads x = weight y + bias; [C, C_y] and [C]."""
        return LinearReader(self.weight @ weight, self.bias + self.weight @ bias)


@dataclass(frozen=True)
class AutogradReader:
    """Any classifier of features."""

    function: Callable[[Tensor], Tensor]

    def logits(self, features: Tensor) -> Tensor:
        """See :class:`Reader`."""
        return self.function(features)

    def gradient(self, features: Tensor, target: Tensor, temperature: float) -> Tensor:
        """See :class:`Reader`; works under ``no_grad`` too."""
        with torch.enable_grad():
            leaf = features.detach().requires_grad_()
            log_p = functional.log_softmax(self.function(leaf) / temperature, dim=1)
            (gradient,) = torch.autograd.grad((target * log_p).sum(), leaf)
        return gradient


class TeacherHead(nn.Module):
    """The teacher's frozen classifier as a reader of maps [B, C_t, H, W], or [B, D_t, 1, 1].

    ``pooled`` reads pooled features as maps of one position, by the linear classifier. With
    ``trained`` False it is a random linear classifier of the same scale, a negative control.
    Maps of another size than the teacher's are resized for heads that are not linear.
    """

    untrained: Tensor | None  # [K, C_t]

    def __init__(self, teacher: TappedModel, *, pooled: bool, trained: bool) -> None:
        super().__init__()
        self._head = teacher.head
        _, height, width = teacher.shapes["map"]
        self._size = (height, width)
        self.linear = pooled or not trained or teacher.head.pools_linearly
        channels = teacher.shapes["pooled" if pooled else "map"][0]
        weight = teacher.head.weight
        self.std = weight.std()
        """Of the classifier's entries."""
        # Drawn on the CPU, whose generator is seeded while methods are made; a GPU's is not
        random = self.std * torch.randn(len(weight), channels).to(weight.device)
        self.register_buffer("untrained", None if trained else random)

    def reader(self) -> LinearReader | None:
        """The linear reader, None where the head is not linear."""
        if not self.linear:
            return None
        if self.untrained is not None:
            return LinearReader(self.untrained, self.untrained.new_zeros(len(self.untrained)))
        return LinearReader(self._head.weight, self._head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_t, H, W] -> logits [B, K]; gradients reach the features."""
        linear = self.reader()
        if linear is not None:
            return linear.logits(features)
        return self._head.from_map(average_pool(features, self._size))


def head_reads_maps(teacher: TappedModel) -> bool:
    """False for heads that read a class token."""
    weight = teacher.head.weight
    probe = torch.zeros(2, *teacher.shapes["map"], device=weight.device, dtype=weight.dtype)
    try:
        with torch.no_grad():
            teacher.head.from_map(probe)
    except UnsupportedModel:
        return False
    return True


class Projector(nn.Module):
    """1x1 convolution and batch normalisation from the student's channels to the teacher's."""

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        self.bn = BatchNorm(teacher_channels)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_s, H, W] -> [B, C_t, H, W]."""
        projected: Tensor = self.bn(self.conv(features))
        return projected

    def frozen(self) -> tuple[Tensor, Tensor]:
        """The map it is in evaluation mode: weight [C_t, C_s], bias [C_t]; no gradient."""
        bn: Any = self.bn  # its running figures are optional in torch's types
        with torch.no_grad():
            scale = bn.weight / (bn.running_var + bn.eps).sqrt()
            return scale[:, None] * self.conv.weight.flatten(1), bn.bias - scale * bn.running_mean


def reader_of(head: TeacherHead, projector: Projector | None, scale: RunningScale) -> Reader:
    """The teacher's classifier as a function of normalised features, frozen as of now.

    It undoes the scale, projects (unless None) and reads.
    """
    weight, bias = projector.frozen() if projector is not None else (None, None)
    linear = head.reader()
    if linear is None:
        return AutogradReader(lambda x: head(_affine(scale.undo(x), weight, bias)))
    if weight is not None and bias is not None:
        linear = linear.after(weight, bias)
    mean, size = scale.figures()
    return LinearReader(linear.weight * size, linear.bias + linear.weight @ mean)


def _affine(features: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None:
        return features
    return functional.conv2d(features, weight[:, :, None, None], bias)
