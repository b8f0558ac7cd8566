"""Layers and rules that bring a student's feature maps and a teacher's together.

Shapes: B batch, C channels, H and W height and width; s student, t teacher. A shape is (C, H, W).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from baselines._pooling import average_pool
from suite.interface.distiller import Setup, UnsupportedPair
from suite.interface.taps import TappedModel, UnsupportedModel

Shape = tuple[int, ...]

LARGEST_KERNEL = 9
"""Above it a valid convolution that shrinks the map would cost more than both networks."""


def paired_stages(setup: Setup) -> tuple[tuple[str, str], ...]:
    """(student, teacher) stage names without each network's first, paired from the deep end.

    The first stage is the stem of a ResNet, as RepDistiller's ``feat[1:-1]``. Where networks have
    unequal numbers of stages, the shallow ones of the longer network are left out; RepDistiller
    leaves out its deep ones.
    """
    student, teacher = setup.student.stages, setup.require_teacher().stages
    pairs = zip(reversed(student[1:] or student), reversed(teacher[1:] or teacher), strict=False)
    return tuple(reversed(list(pairs)))


def stage_from_the_end(network: TappedModel, like: str, reference: TappedModel) -> str:
    """The stage of ``network`` as far from its deep end as stage ``like`` is in ``reference``.

    The shallowest one when ``network`` has fewer stages than that.
    """
    distance = len(reference.stages) - reference.stages.index(like)
    return network.stages[max(len(network.stages) - distance, 0)]


def shape_of(network: TappedModel, tap: str, role: str) -> Shape:
    """Shape of ``tap`` without the batch axis. Raises :class:`UnsupportedPair` if there is none."""
    try:
        network.check((tap,))
    except UnsupportedModel as error:
        raise UnsupportedPair(f"{role} {error}") from None
    return network.shapes[tap]


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [B, C_s, H_s, W_s] and [B, C_t, H_t, W_t], the larger adaptively average-pooled.

    Each axis is brought to the smaller of the two sizes.
    """
    height = min(student.shape[2], teacher.shape[2])
    width = min(student.shape[3], teacher.shape[3])
    return average_pool(student, (height, width)), average_pool(teacher, (height, width))


def as_map(feature: Tensor) -> Tensor:
    """A pooled feature [B, D] as a map [B, D, 1, 1]; maps stay as they are."""
    return feature if feature.ndim == 4 else feature[:, :, None, None]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes a single value per channel (1x1 maps, batch of 1) too.

    One value has no variance, so it is normalised with the running statistics.
    """

    def forward(self, input: Tensor) -> Tensor:
        """input [B, C, H, W] -> the same shape."""
        if input.shape[0] * input.shape[2] * input.shape[3] > 1:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class VectorBatchNorm(nn.BatchNorm1d):
    """The same for vectors [B, C]: a batch of one image is normalised with the running figures."""

    def forward(self, input: Tensor) -> Tensor:
        """input [B, C] -> the same shape."""
        if len(input) > 1:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class ConvReg(nn.Module):
    """FitNet's regressor: a convolution from the student's map to the teacher's, BN and ReLU.

    The convolution follows RepDistiller's and mdistiller's rule, with sizes of both axes:

    ======================  =====================================================
    H_s = 2 H_t             3x3, stride 2, padding 1
    2 H_s = H_t             transposed 4x4, stride 2, padding 1
    H_s >= H_t              (1 + H_s - H_t) x (1 + W_s - W_t), 1x1 for equal sizes
    ======================  =====================================================

    The references fail for any other ratio and take kernels of any size. Here, when no row fits or
    the kernel would exceed :data:`LARGEST_KERNEL`, the larger map is pooled to the smaller and the
    convolution is 1x1; the caller pools the teacher's map (:func:`pool_to_smaller`).
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        (c_s, h_s, w_s), (c_t, h_t, w_t) = student, teacher
        kernel = (1 + h_s - h_t, 1 + w_s - w_t)
        self.pool_to: tuple[int, int] | None = None
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if (h_s, w_s) == (2 * h_t, 2 * w_t):
            self.conv = nn.Conv2d(c_s, c_t, kernel_size=3, stride=2, padding=1)
        elif (2 * h_s, 2 * w_s) == (h_t, w_t):
            self.conv = nn.ConvTranspose2d(c_s, c_t, kernel_size=4, stride=2, padding=1)
        elif min(kernel) >= 1 and max(kernel) <= LARGEST_KERNEL:
            self.conv = nn.Conv2d(c_s, c_t, kernel_size=kernel)
        else:
            self.pool_to = (min(h_s, h_t), min(w_s, w_t))
            self.conv = nn.Conv2d(c_s, c_t, kernel_size=1)
        self.bn = BatchNorm(c_t)

    def forward(self, feature_map: Tensor) -> Tensor:
        """[B, C_s, H_s, W_s] -> [B, C_t, H, W] with the teacher's H, W, or the smaller of both."""
        if self.pool_to is not None:
            feature_map = average_pool(feature_map, self.pool_to)
        return functional.relu(self.bn(self.conv(feature_map)))
