"""What a SLURM job asks for: where that is written, and what is known of it before it starts."""

import pytest
import torch

from suite.config import Runtime
from suite.device.memory import of_device
from suite.interface.errors import UserError
from sweeps import executors
from sweeps.executors.base import ExecutorOptions
from sweeps.slurm.cluster import Cluster

ON_CPU, ON_ANY = Runtime(accelerator="cpu"), Runtime(accelerator="auto")


@pytest.fixture
def cluster(tmp_path):
    """Writes a cluster file and gives the executor that ``options`` name."""

    def make(text, executor="slurm", runtime=ON_CPU, **options):
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        return executors.find(runtime, ExecutorOptions(executor, cluster=path, **options))

    return make


def test_a_slurm_sweep_takes_the_cluster_of_its_own_file_and_no_more_jobs_than_wanted(cluster):
    assert cluster("max_jobs: 3\n").parallel() == 3
    assert cluster("max_jobs: 3\n", jobs=2).parallel() == 2


def test_a_fault_in_the_cluster_file_is_told_where_nothing_needs_it_too(cluster):
    cluster("max_jobs: 3\n", "local")
    with pytest.raises(UserError, match="max_job"):
        cluster("max_job: 3\n", "local")


def test_memory_is_that_of_the_machine_or_of_the_job_and_unknown_for_a_clusters_gpus(cluster):
    here = of_device(torch.device("cpu"))
    assert cluster("max_jobs: 3\n", "local").device_bytes() == here
    text = "memory_gb: 2\ngpus: %d\n"
    assert cluster(text % 0, runtime=ON_ANY).device_bytes() is None  # jobs ask for one GPU
    assert cluster(text % 1).device_bytes() == 2 * 1024**3


def test_what_jobs_load_is_private_unless_the_cluster_file_says_otherwise():
    assert not Cluster().share_jobs_with_group
