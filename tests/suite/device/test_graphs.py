"""Recording and replay of steps, with a recorder that needs no GPU; on a GPU also the real one."""

import logging
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
import torch
from tape_recorder import TapeRecorder
from torch._subclasses.fake_tensor import FakeTensorMode

from suite.device import graphs
from suite.device.graphs import WARM_UP, Graphed


def doubled(tensor):
    return 2 * tensor


def call(graphed, values):
    return graphed(torch.tensor(values)).tolist()


def test_it_is_recorded_once_after_the_warm_up_and_sees_every_new_input():
    recorder = TapeRecorder()
    graphed = Graphed(doubled, 2, record=recorder)
    for number in range(WARM_UP):
        assert call(graphed, [number, 1]) == [2 * number, 2]
    assert recorder.tapes == []
    for number in range(5):
        assert call(graphed, [number, 3]) == [2 * number, 6]
    assert len(recorder.tapes) == 1


def test_it_is_recorded_anew_when_it_reads_something_else_and_never_for_a_short_batch():
    recorder, reads = TapeRecorder(), [1]
    graphed = Graphed(lambda it: reads[0] * it, 2, record=recorder, reads=lambda: reads[0])
    for _ in range(WARM_UP + 1):
        assert call(graphed, [1, 2]) == [1, 2]
    reads[0] = 5
    assert call(graphed, [1, 2]) == [5, 10]
    assert call(graphed, [2, 2]) == [10, 10]
    assert len(recorder.tapes) == 2
    assert call(graphed, [7]) == [35]
    assert call(graphed, [1, 3]) == [5, 15]
    assert len(recorder.tapes) == 2


def test_what_is_read_for_the_first_time_in_a_recording_counts():
    """A method may look at the epoch only after some steps."""
    seen = set()

    def step(tensor):
        seen.add(now[0])
        return now[0] * tensor

    now = [3]
    graphed = Graphed(step, 1, record=TapeRecorder(), reads=lambda: now[0] if seen else None)
    for _ in range(WARM_UP):
        call(graphed, [1])
    seen.clear()
    assert call(graphed, [1]) == [3]
    now[0] = 4
    assert call(graphed, [1]) == [4]


def test_what_cannot_be_recorded_goes_on_with_one_message_and_the_same_random_numbers(caplog):
    stream = torch.Generator().manual_seed(0)

    def noisy(tensor):
        return tensor + torch.rand(len(tensor), generator=stream)

    def refuse(function, _):
        function()  # has drawn when it fails
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphed = Graphed(noisy, 1, [stream], record=refuse)
    with caplog.at_level(logging.WARNING):
        found = [call(graphed, [1.0]) for _ in range(WARM_UP + 3)]
    again = torch.Generator().manual_seed(0)
    expected = [(1 + torch.rand(1, generator=again)).tolist() for _ in found]
    assert found == expected
    assert [record.message for record in caplog.records] == [
        "no CUDA graph, the steps go kernel by kernel: "
        "operation not permitted when stream is capturing"
    ]


def test_the_message_names_the_first_error_and_not_that_of_the_recordings_end(caplog):
    def refuse(*_):
        try:
            raise RuntimeError("aten::nonzero: not permitted when stream is capturing")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    graphed = Graphed(doubled, 1, record=refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(WARM_UP + 1):
            assert call(graphed, [1]) == [2]
    (record,) = caplog.records
    assert "aten::nonzero" in record.message
    assert "previous error" in str(record.exc_info[1])


class GpuStream:
    """A generator as torch 2.12 leaves it: drawing is refused while its inner state records."""

    device = torch.device("cuda", 0)

    def __init__(self, device=None):
        self.inner = {"drawn": 0, "recording": False}

    def get_state(self):
        return self.inner["drawn"]

    def set_state(self, drawn):
        self.inner["drawn"] = drawn

    def graphsafe_set_state(self, other):
        self.inner = other.inner

    def draw(self):
        if self.inner["recording"]:
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        self.inner["drawn"] += 1
        return self.inner["drawn"]


def test_a_gpus_streams_draw_on_after_a_recording_that_failed(monkeypatch):
    """The method's stream and torch's own, from where they were before the recording."""
    method, dropout = GpuStream(), GpuStream()
    monkeypatch.setattr(torch, "Generator", GpuStream)
    monkeypatch.setattr(torch.cuda, "default_generators", (dropout,))

    def step(image):
        return method.draw(), dropout.draw(), len(image)

    def fail(function, _):
        function()
        method.inner["recording"] = dropout.inner["recording"] = True
        raise RuntimeError("operation not permitted when stream is capturing")

    with FakeTensorMode(allow_non_fake_inputs=True):
        graphed = Graphed(step, 4, [method], record=fail)
        image = torch.empty(4, device="cuda:0")
        found = [graphed(image) for _ in range(WARM_UP + 2)]
    assert found == [(number, number, 4) for number in range(1, WARM_UP + 3)]


def test_threads_that_pin_memory_may_use_the_gpu_while_a_step_is_recorded(monkeypatch):
    modes = []

    @contextmanager
    def capture(_, capture_error_mode="global"):
        modes.append(capture_error_mode)
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Mock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    graphs.record(lambda: None, [])
    assert modes == ["thread_local"]


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
            loss, gradient = call(torch.full((4, 8), float(number), device="cuda"))
            found.append((loss.item(), gradient.clone()))
        return found

    streams = [torch.Generator("cuda").manual_seed(0) for _ in range(2)]
    plain = step_with(streams[0])
    expected = outcomes(plain)
    graphed = Graphed(step_with(streams[1]), 4, [streams[1]])
    found = outcomes(graphed)
    for (loss, gradient), (expected_loss, expected_gradient) in zip(found, expected, strict=True):
        assert loss == expected_loss
        assert torch.equal(gradient, expected_gradient)
