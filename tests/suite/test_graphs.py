"""Recording and replay of steps, with a recorder that needs no GPU; on a GPU also the real one."""

import logging

import pytest
import torch

from suite.graphs import WARM_UP, Graphed


class Recorder:
    """Replays by calling the function again, as a graph would launch its kernels again."""

    def __init__(self):
        self.recorded = 0

    def __call__(self, function, _):
        self.recorded += 1
        return function


def doubled(tensor):
    return 2 * tensor


def call(graphed, values, **key):
    return graphed([torch.tensor(values)], **key).tolist()


def test_it_is_recorded_once_after_the_warm_up_and_sees_every_new_input():
    recorder = Recorder()
    graphed = Graphed(doubled, record=recorder)
    for number in range(WARM_UP):
        assert call(graphed, [number, 1]) == [2 * number, 2]
    assert recorder.recorded == 0
    for number in range(5):
        assert call(graphed, [number, 3]) == [2 * number, 6]
    assert recorder.recorded == 1


def test_a_smaller_batch_goes_by_itself_and_another_key_is_recorded_anew():
    recorder = Recorder()
    graphed = Graphed(doubled, record=recorder)
    for _ in range(WARM_UP + 1):
        call(graphed, [1, 2], key=1)
    assert call(graphed, [7], key=1) == [14]
    call(graphed, [1, 2], key=1)
    assert recorder.recorded == 1
    assert call(graphed, [5, 6], key=2) == [10, 12]
    assert recorder.recorded == 2


def test_what_cannot_be_recorded_goes_on_with_one_message_and_the_same_random_numbers(caplog):
    stream = torch.Generator().manual_seed(0)

    def noisy(tensor):
        return tensor + torch.rand(len(tensor), generator=stream)

    def refuse(function, _):
        function()  # has drawn when it fails
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphed = Graphed(noisy, [stream], record=refuse)
    with caplog.at_level(logging.WARNING):
        found = [call(graphed, [1.0]) for _ in range(WARM_UP + 3)]
    again = torch.Generator().manual_seed(0)
    expected = [(1 + torch.rand(1, generator=again)).tolist() for _ in found]
    assert found == expected
    assert [record.message for record in caplog.records] == [
        "no CUDA graph, the steps go kernel by kernel: "
        "operation not permitted when stream is capturing"
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_replay_gives_the_bits_and_random_numbers_of_single_kernels():
    weight = torch.randn(8, 8, device="cuda", requires_grad=True)

    def step_with(stream):
        def step(image):
            drawn = torch.rand(image.shape, generator=stream, device="cuda")
            loss = ((image + drawn) @ weight).square().sum()
            weight.grad = None
            loss.backward()
            return loss.detach(), weight.grad

        return step

    def outcomes(call):
        found = []
        for number in range(3 * WARM_UP):
            loss, gradient = call([torch.full((4, 8), float(number), device="cuda")])
            found.append((loss.item(), gradient.clone()))
        return found

    streams = [torch.Generator("cuda").manual_seed(0) for _ in range(2)]
    plain = step_with(streams[0])
    expected = outcomes(lambda inputs: plain(*inputs))
    graphed = Graphed(step_with(streams[1]), [streams[1]])
    found = outcomes(graphed)
    for (loss, gradient), (expected_loss, expected_gradient) in zip(found, expected, strict=True):
        assert loss == expected_loss
        assert torch.equal(gradient, expected_gradient)
