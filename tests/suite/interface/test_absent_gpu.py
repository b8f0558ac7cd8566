"""The GPU that is not there refuses what a GPU would, and counts by hand-checkable rules."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from suite.interface.absent_gpu import AbsentGpu, Refused


@pytest.fixture(autouse=True)
def kernels_as_they_are():
    """Where deterministic ones are asked for, as a run does, torch itself goes round some."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(before)


def refused(action, *, recorded=False, generators=()):
    """What the device says of ``action``, which is given an image that requires a gradient."""
    gpu = AbsentGpu()
    with gpu:
        image = torch.ones(2, 3, 8, 8, device=gpu.device, requires_grad=True)
        work = gpu.record(lambda: action(image), generators) if recorded else partial(action, image)
        with pytest.raises(Refused) as reason, gpu.step():
            work()
    return str(reason.value)


@pytest.mark.parametrize(
    "read",
    [
        lambda it: it.sum().item(),
        lambda it: it.sum().tolist(),
        lambda it: it.detach().cpu().numpy(),
        lambda it: it.nonzero(),
        lambda it: torch.ones(2).to(it.device),
    ],
    ids=["item", "tolist", "numpy", "nonzero", "to the device"],
)
def test_a_step_that_copies_between_host_and_device_is_refused(read):
    assert "waits for the device" in refused(read)
    assert Path(__file__).name in refused(read, recorded=True)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (lambda it: functional.adaptive_avg_pool2d(it, 3), "AdaptiveAvgPool2d backward"),
        (lambda it: functional.interpolate(it, 5, mode="bilinear"), "bilinear interpolation"),
        (lambda it: functional.pad(it, (1, 1, 1, 1), mode="reflect"), "ReflectionPad2d backward"),
        (lambda it: it.flatten(1).median(1).values, "median with indices"),
    ],
    ids=["pool", "interpolate", "pad", "median"],
)
def test_what_has_no_deterministic_kernel_is_refused_in_the_backward_pass_too(act, name):
    assert name in refused(lambda it: act(it).sum().backward())


def test_tensors_of_two_devices_that_meet_are_refused_but_for_single_numbers():
    assert "gets tensors of absent:0 and of the CPU" in refused(lambda it: it + torch.ones(8))
    gpu = AbsentGpu()
    with gpu, gpu.step():
        assert (torch.ones(2, device=gpu.device) * torch.tensor(3.0)).device == gpu.device


def test_a_recording_draws_from_the_streams_it_knows_alone():
    stream = torch.Generator()
    draw = lambda it: torch.rand(2, device=it.device, generator=stream)  # noqa: E731
    assert "stream that the recording does not know" in refused(draw, recorded=True)
    gpu = AbsentGpu()
    with gpu:
        gpu.record(lambda: draw(torch.ones(1, device=gpu.device)), [stream])()


@pytest.mark.parametrize(
    "act",
    [
        lambda it: it.flatten(1).gather(1, it.new_zeros(2, 1).long()).sum().backward(),
        lambda it: it.detach().flatten(1).scatter_(1, it.new_zeros(2, 1).long(), it.new_ones(2, 1)),
    ],
    ids=["gather", "scatter"],
)
def test_what_copies_sizes_from_the_host_is_refused_within_a_recording_alone(act):
    assert "copies sizes from the host" in refused(act, recorded=True)
    with AbsentGpu() as gpu, gpu.step():
        act(torch.ones(2, 3, 8, 8, device=gpu.device, requires_grad=True))


def test_a_vector_may_be_added_up_by_index_in_a_recording():
    with AbsentGpu() as gpu:
        total, index = torch.zeros(3, device=gpu.device), torch.arange(3, device=gpu.device) // 2
        gpu.record(lambda: total.scatter_add_(0, index, torch.ones_like(total)), [])()
        assert total.cpu().tolist() == [2.0, 1.0, 0.0]


def test_values_and_gradients_are_those_of_the_cpu():
    def loss(weight, image):
        return functional.conv2d(image, weight).relu().square().mean()

    weight, image = torch.randn(4, 3, 3, 3), torch.randn(2, 3, 8, 8)
    ours = weight.clone().requires_grad_()
    loss(ours, image).backward()
    with AbsentGpu() as gpu:
        theirs = weight.to(gpu.device).requires_grad_()
        loss(theirs, image.to(gpu.device)).backward()
        assert torch.equal(theirs.grad.cpu(), ours.grad)


def test_kernels_bytes_and_flops_are_counted_outside_and_inside_of_recordings():
    """A matrix product of 2 x 3 by 3 x 4 reads 6 + 12 and writes 8 floats, in 2 x 24 FLOPs."""
    with AbsentGpu() as gpu:
        left, right = torch.ones(2, 3, device=gpu.device), torch.ones(3, 4, device=gpu.device)
        gpu.outside.launches = gpu.outside.moved = 0
        product = (left @ right).view(-1)  # a view launches nothing
        assert (gpu.outside.launches, gpu.outside.moved) == (1, 4 * (6 + 12 + 8))
        assert gpu.outside.flops == 48
        replay = gpu.record(lambda: (product + 1).relu(), [])
        replay()
        replay()
        assert (gpu.outside.launches, gpu.inside.launches) == (3, 4)


@pytest.mark.parametrize(("tensors", "size", "launches"), [(64, 4, 2), (1, 65536 * 641, 3)])
def test_an_optimizer_takes_so_many_tensors_and_chunks_in_one_kernel(tensors, size, launches):
    """Three lists: 48 tensors, and 320 chunks of 65,536 values."""
    with AbsentGpu() as gpu:
        made = torch.nn.Parameter(torch.zeros(size, device=gpu.device))
        weights = [made] + [torch.nn.Parameter(torch.zeros_like(made)) for _ in range(tensors - 1)]
        optimizer = torch.optim.SGD(weights, lr=0.1, momentum=0.9, fused=True)
        for _ in range(2):
            for weight in weights:
                weight.grad = torch.zeros_like(weight)
            before = gpu.outside.launches
            optimizer.step()
        assert gpu.outside.launches - before == launches
