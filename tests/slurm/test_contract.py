"""The contract of executors on a real SLURM."""

import executor_contract as contract
import pytest

EPOCHS = 80  # jobs are looked at every two seconds


@pytest.fixture
def cluster(sweep):
    return sweep.cluster


def test_slurm_trains_a_list_with_the_bits_of_this_process(sweep, cluster, tmp_path):
    alone = contract.check_runs("in_process", tmp_path / "alone", epochs=EPOCHS)
    contract.check_runs("slurm", sweep.root, alone, cluster, EPOCHS)


def test_slurm_serves_a_queue(sweep, cluster):
    contract.check_queue("slurm", sweep.root, cluster)
