"""Where a sweep trains, and how much memory is known of that place before it starts."""

import torch

from suite.config import Runtime
from suite.device.memory import of_device
from sweeps.slurm.cluster import Cluster, choose, room

ON_CPU, ON_ANY = Runtime(accelerator="cpu"), Runtime(accelerator="auto")


def test_a_local_sweep_needs_no_cluster_and_a_slurm_sweep_takes_its_own(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("max_jobs: 3\n")
    assert choose("local", path, None) is choose("debug", path, 2) is None
    assert choose("slurm", path, None).max_jobs == 3
    assert choose("slurm", path, 2).max_jobs == 2


def test_memory_is_that_of_the_machine_or_of_the_job_and_unknown_for_a_clusters_gpus():
    assert room(None, ON_CPU) == of_device(torch.device("cpu"))
    assert room(Cluster(gpus=0, memory_gb=2), ON_ANY) is None  # jobs ask for one GPU all the same
    assert room(Cluster(gpus=1, memory_gb=2), ON_CPU) == 2 * 1024**3
