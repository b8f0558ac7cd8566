"""Cores, memory and GPUs of this process, control groups of both versions included."""

import os

import pytest
import torch

from suite.device import machine
from suite.device.machine import Machine

GB = 10**9


@pytest.fixture
def cgroup(tmp_path):
    """Writes /proc/self/cgroup and files of control groups; gives the two places."""

    def write(line, files):
        (tmp_path / "cgroup").write_text(f"12:pids:/\n{line}\n")
        for name, content in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")
        return tmp_path / "cgroup", tmp_path / "fs"

    return write


def test_memory_is_the_least_that_a_group_or_one_around_it_allows(cgroup):
    files = {"job/memory.max": GB, "job/step/memory.max": "max"}
    assert machine.memory_bytes(*cgroup("0::/job/step", files)) == GB


def test_memory_of_version_1_is_found_also_where_the_containers_own_path_is_hidden(cgroup):
    """In a container, the path is that of the host and the root is the container's own group."""
    files = {"memory/memory.limit_in_bytes": 2 * GB}
    assert machine.memory_bytes(*cgroup("4:memory:/docker/abc", files)) == 2 * GB


def test_without_a_limit_memory_and_cores_are_those_of_the_machine(cgroup, tmp_path):
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    unlimited = {"memory/a/memory.limit_in_bytes": 2**63 - 4096, "cpu/a/cpu.cfs_quota_us": -1}
    places = cgroup("4:memory:/a\n5:cpu,cpuacct:/a", unlimited)
    assert machine.memory_bytes(*places) == physical
    assert machine.cores(*places) == len(os.sched_getaffinity(0))
    assert machine.memory_bytes(tmp_path / "none", tmp_path) == physical


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/a", {"a/cpu.max": "50000 100000"}),
        ("5:cpu:/a", {"cpu/a/cpu.cfs_quota_us": 50000, "cpu/a/cpu.cfs_period_us": 100000}),
    ],
)
def test_half_a_cores_time_is_one_core(cgroup, line, files, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert machine.cores(*cgroup(line, files)) == 1


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ("0", "1")),
        ("4,5", ("4", "5")),
        ("GPU-8a, GPU-9b", ("GPU-8a", "GPU-9b")),
        ("MIG-1,MIG-2,3", ("MIG-1", "MIG-2")),  # CUDA shows two
    ],
)
def test_gpus_have_the_names_of_the_environment(monkeypatch, visible, names):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpus("auto") == names
    assert machine.gpus("cpu") == ()


def test_a_machine_says_what_it_has():
    assert str(Machine(1, 2 * GB, ())) == "1 core, 2.0 GB and no GPU"
    assert str(Machine(16, 128 * GB, ("4", "5"))) == "16 cores, 128.0 GB and 2 GPUs"
