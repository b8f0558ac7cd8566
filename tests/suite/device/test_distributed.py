"""Two processes (gloo, CPU) train what one process trains with the same global batch.

Methods whose state spans ranks; `tests/modes/test_two_ranks.py` has all, and further options.
"""

import pytest
import torch
import two_ranks
from safetensors.torch import load_file
from two_ranks import TEACHER, name_of, spec_of, student_of

from suite.device import distributed
from suite.interface.absent_gpu import AbsentGpu

STUDENTS = [student_of(method) for method in ("crd", "dskd")]
LOCAL = spec_of("kd", TEACHER, batch_norm="local")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder of runs trained by one process, and of the same runs trained by two."""
    return two_ranks.train_both(tmp_path_factory.mktemp("ranks"), [*STUDENTS, LOCAL])


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
