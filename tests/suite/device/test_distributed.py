"""Two processes (gloo, CPU) train what one process trains with the same global batch.

Methods that read images of the other rank, or whose state spans ranks; all others are in
`tests/modes/test_two_ranks.py`.
"""

import pytest
import torch
import two_ranks
from safetensors.torch import load_file
from two_ranks import TEACHER, name_of, spec_of, student_of

from suite.device import distributed
from suite.interface.absent_gpu import AbsentGpu

STUDENTS = [student_of(method) for method in ("crd", "dskd", "pkt")]
STUDENTS += [student_of("fitnet", optimizer={"name": "dot", "delta": 0.075})]
STUDENTS += [
    spec_of("crd", TEACHER, lr=0.0005, accumulate=4),  # rounding grows with statistics of 8 images
    student_of("fitnet", optimizer={"name": "dot", "delta": 0.075}, accumulate=4),
]
LOCAL = spec_of("kd", TEACHER, batch_norm="local")
HALF = [spec_of("crd", TEACHER, precision=precision) for precision in ("bf16-mixed", "16-mixed")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of runs trained by one process, and of the same runs trained by two."""
    return two_ranks.train_both(tmp_path_factory.mktemp("ranks"), [*STUDENTS, LOCAL, *HALF])


@pytest.mark.parametrize("spec", STUDENTS, ids=name_of)
def test_two_ranks_train_what_one_rank_trains(runs, spec):
    two_ranks.check_same_weights(runs, spec)


@pytest.mark.parametrize("spec", STUDENTS, ids=name_of)
def test_losses_of_both_are_the_same_rows(runs, spec):
    two_ranks.check_same_losses(runs, spec)


def test_statistics_of_each_rank_apart_are_another_training(runs):
    directories = two_ranks.directories(runs, LOCAL)
    weights, others = (load_file(directory.weights) for directory in directories)
    gaps = [(weights[name] - others[name]).abs().max().item() for name in weights]
    assert max(gaps) > 10 * two_ranks.TOLERANCE
    assert [it.read_result()["ranks"] for it in directories] == [1, 2]


@pytest.mark.parametrize("spec", HALF, ids=lambda spec: spec.config.train.precision)
def test_half_precision_trains_on_two_ranks_as_on_one_up_to_its_rounding(runs, spec):
    """Nine layers that round three times each: a relative error of 27 unit roundoffs at most."""
    roundoff = {"bf16-mixed": 2.0**-8, "16-mixed": 2.0**-11}[spec.config.train.precision]
    rows = [directory.read_metrics() for directory in two_ranks.directories(runs, spec)]
    for one, two in zip(*rows, strict=True):
        assert two["train/loss"] == pytest.approx(one["train/loss"], rel=27 * roundoff)


def test_batch_norm_over_all_ranks_waits_for_no_gpu_and_takes_two_sums_a_layer(monkeypatch):
    """Two ranks with the same images, where every sum over ranks is twice the rank's own."""
    sums = []

    def sum_over_ranks(tensor):
        sums.append(tensor.numel())
        return 2 * tensor

    monkeypatch.setattr(distributed.collectives, "all_reduce", sum_over_ranks)
    image = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    layer, plain = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    expected = plain(torch.cat([image, image]))[:4]
    with AbsentGpu() as gpu:
        layer.to(gpu.device)
        moved = image.to(gpu.device)
        with gpu.step(), distributed.WholeBatchNorm(ranks=2):
            found = layer(moved)
        torch.testing.assert_close(found.cpu(), expected)
        torch.testing.assert_close(layer.running_var.cpu(), plain.running_var)
    assert sums == [3, 3]
