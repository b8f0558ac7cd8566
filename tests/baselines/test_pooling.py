"""Adaptive average pooling without torch's gradient that is not deterministic on a GPU."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from baselines._hashing import lower_median
from baselines._pooling import average_pool

SIZES = [((8, 8), (4, 4)), ((8, 12), (4, 4)), ((7, 7), (4, 4)), ((5, 3), (2, 7)), ((6, 6), (1, 1))]


def maps(size):
    images = torch.randn(
        2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return images.requires_grad_()


@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_values_and_gradients_are_those_of_adaptive_pooling(size, wanted):
    image, weight = maps(size), torch.randn(2, 3, *wanted, dtype=torch.float64)
    ours, theirs = average_pool(image, wanted), functional.adaptive_avg_pool2d(image, wanted)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
    pulls = [torch.autograd.grad((it * weight).sum(), image)[0] for it in (ours, theirs)]
    assert torch.allclose(*pulls, rtol=0, atol=1e-14)


def test_multiples_have_the_same_bits():
    image = maps((32, 16)).float()
    assert torch.equal(average_pool(image, (4, 4)), functional.adaptive_avg_pool2d(image, (4, 4)))


class NoAdaptivePooling(TorchDispatchMode):
    """Raises at the operations that have no deterministic kernel on a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "adaptive_avg_pool2d" not in str(func)
        assert str(func) != "aten.median.dim"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_no_operation_without_a_deterministic_kernel_is_called(size, wanted):
    with NoAdaptivePooling():
        average_pool(maps(size), wanted).sum().backward()
        lower_median(torch.randn(4, 3), by_order=True)


@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_the_median_by_order_is_torchs(rows):
    values = torch.randn(rows, 50, generator=torch.Generator().manual_seed(rows)).round(decimals=1)
    both = [lower_median(values, by_order=by_order) for by_order in (True, False)]
    assert torch.equal(*both)
