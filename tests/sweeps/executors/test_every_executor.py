"""The contract, over all executors that this machine has; tests/slurm has it on a real SLURM."""

import executor_contract as contract
import pytest
import worked_example

from suite.config import Runtime
from suite.interface.errors import UserError
from sweeps import executors
from sweeps.executors.base import ExecutorOptions

ELSEWHERE = {"auto", "debug", "slurm"}  # a choice, an old name, tests/slurm
NAMES = sorted(set(executors.names()) - ELSEWHERE - {"in_process"})


@pytest.fixture(scope="module")
def trained_in_process(tmp_path_factory):
    return contract.check_runs("in_process", tmp_path_factory.mktemp("in_process"))


@pytest.mark.parametrize("name", NAMES)
def test_an_executor_trains_a_list_with_the_bits_of_another(name, tmp_path, trained_in_process):
    contract.check_runs(name, tmp_path, trained_in_process)


@pytest.mark.parametrize("name", ["in_process", *NAMES])
def test_an_executor_serves_a_queue(name, tmp_path):
    contract.check_queue(name, tmp_path)


@pytest.fixture
def nice(tmp_path, monkeypatch):
    name = worked_example.install("An executor: one file", tmp_path, monkeypatch)
    executors._installed.cache_clear()
    yield name
    executors._installed.cache_clear()


def test_the_worked_example_of_the_docs_is_found_and_keeps_the_contract(nice, tmp_path):
    assert nice in executors.names()
    contract.check_queue(nice, tmp_path / "runs")
    assert "priority 19" in (tmp_path / "runs").rglob("worker-0.log").__next__().read_text()


def test_a_wrong_name_gets_the_known_ones_and_a_name_of_ours_cannot_be_taken(nice, monkeypatch):
    with pytest.raises(UserError, match=r"'nise' \(did you mean nice\?\); known: auto, .*slurm"):
        executors.find(Runtime(), ExecutorOptions("nise"))
    monkeypatch.setitem(executors.OURS, nice, "sweeps.executors.local:Local")
    with pytest.raises(UserError, match="takes a name of ours"):
        executors.find(Runtime(), ExecutorOptions(nice))
