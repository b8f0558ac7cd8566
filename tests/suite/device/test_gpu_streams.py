"""The order of kernels in streams, with streams that only note what they wait for."""

from contextlib import contextmanager

import pytest
import torch

from suite.device.gpu_streams import Lanes


@pytest.fixture
def noted(monkeypatch):
    """What the streams were told, in order."""
    told, current = [], []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            told.append(f"{self.name} waits for {other.name}")

    @contextmanager
    def use(stream):
        current.append(stream)
        yield
        current.pop()

    names = iter(["lane 0", "lane 1"])
    current.append(Stream("main"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream(next(names)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current[-1])
    monkeypatch.setattr(torch.cuda, "stream", use)
    return told, lambda: told.append(f"kernel in {current[-1].name}")


def test_each_lane_begins_after_the_main_stream_which_goes_on_after_all_lanes(noted):
    told, kernel = noted
    lanes = Lanes(torch.device("cuda", 0), 2)
    kernel()
    for number in range(2):
        with lanes.lane(number):
            kernel()
    lanes.join()
    kernel()
    assert told == [
        "kernel in main",
        "lane 0 waits for main",
        "kernel in lane 0",
        "lane 1 waits for main",
        "kernel in lane 1",
        "main waits for lane 0",
        "main waits for lane 1",
        "kernel in main",
    ]


@pytest.mark.parametrize(("device", "count"), [("cpu", 8), ("cuda", 1)])
def test_without_a_gpu_or_for_one_run_there_is_one_order(noted, device, count):
    told, kernel = noted
    lanes = Lanes(torch.device(device), count)
    with lanes.lane(0):
        kernel()
    lanes.join()
    assert told == ["kernel in main"]
