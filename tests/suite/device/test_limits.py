"""No option starts more than the machine carries."""

import pytest

from suite.config import Runtime
from suite.device import limits
from suite.device.machine import Machine
from suite.interface.errors import UserError

GB = 10**9
SMALL = Machine(2, 24 * GB, ())
GPUS = Machine(16, 128 * GB, ("4", "5"))
TIGHT = Machine(64, 3 * GB, ())  # a container


def runtime(**values):
    return Runtime(tracker="none", **values)


@pytest.mark.parametrize(
    ("machine", "options", "jobs", "message"),
    [
        (SMALL, {"devices": 200}, None, r"--devices 200: .* 2 cores, 24.0 GB and no GPU.* 1 to 8 "),
        (SMALL, {"devices": 4}, 3, r"--jobs 3: .* allowed: 1 to 2 \(4 processes a core"),
        (SMALL, {}, 9, "--jobs 9: .* allowed: 1 to 8 "),
        (SMALL, {}, 0, "--jobs 0: must be at least 1"),
        (SMALL, {}, -3, "--jobs -3: must be at least 1"),
        (SMALL, {"threads": 3}, None, "--threads 3: .* allowed: 1 to 2"),
        (SMALL, {"workers": 9}, None, "--workers 9: .* allowed: 1 to 8"),
        (SMALL, {"accelerator": "cuda"}, None, "--accelerator cuda: this machine has no GPU"),
        (GPUS, {"devices": 3}, None, "--devices 3: .* 2 GPUs; allowed: 1 to 2"),
        (GPUS, {}, 9, "--jobs 9: .* allowed: 1 to 8 "),
        (TIGHT, {}, 5, r"--jobs 5: .* 64 cores, 3.0 GB .* allowed: 1 to 4 .*0.7 GB each"),
    ],
)
def test_what_is_too_much_is_refused_in_one_line(machine, options, jobs, message):
    with pytest.raises(UserError, match=message) as refused:
        limits.check(runtime(**options), jobs, machine)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("machine", "options", "jobs"),
    [(SMALL, {}, None), (SMALL, {"devices": 2}, 4), (GPUS, {"devices": 2}, 4), (TIGHT, {}, 4)],
)
def test_a_few_processes_a_core_are_allowed(machine, options, jobs):
    limits.check(runtime(**options), jobs, machine)


@pytest.mark.parametrize(
    ("machine", "devices", "jobs"),
    [(SMALL, 1, 2), (SMALL, 2, 1), (GPUS, 1, 2), (GPUS, 2, 1), (TIGHT, 1, 4), (TIGHT, 2, 2)],
)
def test_by_default_there_is_a_process_for_every_core_or_gpu_that_has_memory(
    machine, devices, jobs
):
    assert limits.default_jobs(runtime(devices=devices), machine) == jobs


def test_defaults_are_within_the_limits_of_the_smallest_machine():
    least = Machine(1, GB // 2, ())
    limits.check(runtime(), limits.default_jobs(runtime(), least), least)
