"""What small steps say of a large one: sizes that grow, and what is alive when."""

from pathlib import Path

import pytest
import torch

from suite.config import RunSpec, Runtime, parse
from suite.data import load
from suite.train.footprint import DryRun, Footprint, footprint
from suite.train.footprint.live import Live, Trace, grown

RUNTIME = Runtime(accelerator="cpu", tracker="none")
PIXELS = 3 * 16 * 16


def test_a_storage_lives_from_its_first_use_until_nothing_refers_to_it():
    live = Live()
    kept = torch.zeros(10)  # 40 bytes, there before
    with live:
        large = torch.ones(100) + 1  # 400 bytes for the ones, 400 for the sum
        view = large[:10]
        assert (live.bytes, live.peak_bytes) == (400, 800)
        del large
        assert live.bytes == 400  # the view has it
        view.add_(kept)
        del view
    assert (live.bytes, live.peak_bytes) == (40, 800)


def test_what_a_backward_pass_still_needs_is_alive():
    weight = torch.ones(50, requires_grad=True)  # 200 bytes
    with Live() as live:
        loss = (weight * 2).exp().sum()  # the exponential, 200 bytes, is needed for its gradient
        assert live.bytes == 200 + 200 + 4
        loss.backward()
        del loss
    assert live.bytes == 200 + 200  # weight and gradient


def test_a_trace_begins_anew_and_counts_the_end_of_what_was_there_before():
    with Live() as live:
        before = torch.ones(5)
        live.begin()
        made = torch.ones(2)
        del before
    assert live.trace() == Trace((8, 20), (0, ~1))
    assert live.trace().levels == [0, 8, -12]
    del made


@pytest.mark.parametrize(
    ("sizes", "at_64"),
    [
        ((7, 7, 7), 7),
        ((8, 16, 24), 256),  # 4 B
        ((12, 20, 28), 260),  # 4 B + 4
        ((4, 16, 36), 4096),  # B^2
        ((2, 12, 30), 64 * 63),  # B (B - 1)
        ((32, 256, 864), 4 * 64**3),  # 4 B^3
        ((1, 2, 3), 32),  # half a batch
    ],
)
def test_sizes_grow_by_the_rule_that_fits_three_batches(sizes, at_64):
    traces = {rows: Trace((size,), (0,)) for rows, size in zip((2, 4, 6), sizes, strict=True)}
    assert grown(traces, 64).sizes == [at_64]


def test_batches_that_do_other_things_are_not_compared():
    traces = {2: Trace((1,), (0,)), 4: Trace((1, 1), (0, 1)), 6: Trace((1,), (0,))}
    with pytest.raises(ValueError, match="do other things"):
        grown(traces, 64)


def test_runs_of_a_pack_share_data_teacher_and_the_memory_of_steps_unless_recorded():
    one = Footprint(shared=1000, own=100, batches=10, making=15, step=50, looking=30)
    other = Footprint(shared=1000, own=200, batches=10, making=15, step=40, looking=35)
    assert one.peak() == 1000 + 100 + 10 + 50
    assert one.peak(other) == 1000 + 100 + 200 + 10 + 50
    assert one.peak(other, recorded=True) == 1000 + 100 + 200 + 50 + 40 + 10 + 35
    large = Footprint(shared=1000, own=200, batches=10, making=900, step=40, looking=35)
    assert one.peak(large) == 1300 + 10 + 50  # each knows the making of its own batches
    assert large.peak(one) == 1300 + 900


def run(**train):
    config = {
        "data": {"name": "fake"},
        "student": {"name": "cifar_resnet8"},
        "method": {"name": "scratch"},
        "optimizer": {"lr": 0.1, "momentum": 0.9},
        "train": {"epochs": 1, "batch_size": 64, **train},
    }
    spec = parse(RunSpec, {"config": config, "experiment": "e", "label": "e"}, "test")
    return DryRun(spec.config, load(spec.config.data, Path()), RUNTIME)


def test_a_run_holds_weights_gradients_momentum_and_running_statistics():
    """78,042 parameters three times, 2 x 352 running statistics, 9 counts of 8 bytes."""
    student = run()._trainer.step.student
    parameters = sum(it.numel() for it in student.parameters())
    buffers = sum(it.numel() * it.itemsize for it in student.buffers())
    found = footprint(run())
    assert 0 <= found.own - (3 * 4 * parameters + buffers) < 1000  # and a handful of numbers
    averaged = footprint(run(ema_decay=0.9))
    assert averaged.own - found.own == 4 * parameters + buffers


def test_parts_of_a_batch_take_less_memory_and_the_batch_is_whole():
    whole, parts = footprint(run()), footprint(run(accumulate=8))
    assert parts.batches == whole.batches
    assert 0.15 * whole.step < parts.step < 0.5 * whole.step


def test_a_gpu_makes_many_small_batches_ahead():
    """2^24 values at once are more than the 512 images have; each is there in bytes and floats."""
    here, there = footprint(run()), footprint(run(), on_gpu=True)
    assert there.step == here.step
    image = (1 + 4) * PIXELS
    assert here.batches == pytest.approx(64 * image, rel=0.1)
    assert there.batches == pytest.approx(512 * image, rel=0.1)
