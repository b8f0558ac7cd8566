"""Loading processes that stay: the same images in the same order, begun early, and no orphans."""

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch

from suite.data import DataError
from suite.device import pool
from suite.device.pool import PREFETCHED, Pool, Series

ROOT = Path(__file__).parents[3]
NUMBERS = """
import sys, time, torch
from suite.device.pool import Pool, Series
pool = Pool(lambda request: [(torch.tensor([request]),)], 2)
made = pool.made(Series(None, lambda: iter(range(100))), 100, 8)
next(made)
print(*[worker.pid for worker in pool._loader._iterator._workers], flush=True)
{then}
"""


def made_by(number):
    """An image of two values: the request, and the process that made it."""
    if number == 13:
        raise DataError("image 13 cannot be read")
    return [(torch.tensor([number, os.getpid()]),)]


@pytest.fixture
def pool_of_two():
    own = Pool(made_by, 2)
    yield own
    own.close()


def series(*numbers, key=None):
    return Series(key, lambda: iter(numbers))


def ask(pool, numbers, key=None, following=None):
    return pool.made(series(*numbers, key=key), len(numbers), 16, following=following)


def values(made):
    """The requests, and the processes that made them."""
    pairs = [parts[0][0].tolist() for parts in made]
    return [number for number, _ in pairs], {process for _, process in pairs}


def test_processes_stay_and_keep_the_order(pool_of_two):
    first, processes = values(ask(pool_of_two, range(20, 60)))
    second, others = values(ask(pool_of_two, range(60, 90)))
    assert (first, second) == ([*range(20, 60)], [*range(60, 90)])
    assert len(processes) == 2
    assert others == processes
    assert os.getpid() not in processes


def test_without_processes_the_caller_makes_them():
    numbers, processes = values(ask(Pool(made_by, 0), range(3)))
    assert (numbers, processes) == ([0, 1, 2], {os.getpid()})


@pytest.mark.parametrize("length", [1, 5, 8, 9, 40])
def test_what_follows_is_begun_while_others_are_asked_for_and_keeps_its_order(pool_of_two, length):
    """Two processes begin 8 of it at most; between the two epochs, two evaluations."""
    begun = []

    def requests():
        for number in range(100, 100 + length):
            begun.append(number)
            yield number

    numbers, _ = values(ask(pool_of_two, range(20, 50), "e1", Series("e2", requests)))
    assert numbers == [*range(20, 50)]
    assert begun == [*range(100, 100 + min(length, 2 * PREFETCHED))]
    for start in (200, 300):
        assert values(ask(pool_of_two, range(start, start + 7)))[0] == [*range(start, start + 7)]
    assert len(begun) == min(length, 2 * PREFETCHED)
    following = series(*range(400, 420), key="e3")
    numbers, _ = values(ask(pool_of_two, range(100, 100 + length), "e2", following))
    assert numbers == begun == [*range(100, 100 + length)]  # each was sent once
    assert values(ask(pool_of_two, range(400, 420), "e3"))[0] == [*range(400, 420)]


def test_what_was_expected_and_does_not_come_is_dropped(pool_of_two):
    list(ask(pool_of_two, range(20, 30), "e1", series(*range(100, 130), key="e2")))
    assert values(ask(pool_of_two, range(40, 60), "e5"))[0] == [*range(40, 60)]
    other = series(*range(500, 520), key="e6")
    assert values(ask(pool_of_two, range(60, 70), "e5", other))[0] == [*range(60, 70)]
    assert values(ask(pool_of_two, range(500, 520), "e6"))[0] == [*range(500, 520)]


def test_images_that_nobody_takes_do_not_reach_the_next_who_asks(pool_of_two):
    begun = ask(pool_of_two, range(20, 60))
    assert values(islice(begun, 3))[0] == [20, 21, 22]
    begun.close()
    assert values(ask(pool_of_two, range(70, 90)))[0] == [*range(70, 90)]


def test_two_may_ask_in_turns(pool_of_two):
    pairs = zip(ask(pool_of_two, range(20, 40)), ask(pool_of_two, range(60, 80)), strict=True)
    numbers = [(int(one[0][0, 0]), int(other[0][0, 0])) for one, other in pairs]
    assert numbers == list(zip(range(20, 40), range(60, 80), strict=True))


def test_a_fault_is_one_line_and_the_next_images_come_from_new_processes(pool_of_two):
    _, before = values(ask(pool_of_two, range(20, 30)))
    with pytest.raises(DataError, match=r"^image 13 cannot be read$"):
        list(ask(pool_of_two, range(10, 30)))
    gone(before)
    numbers, after = values(ask(pool_of_two, range(20, 30)))
    assert numbers == [*range(20, 30)]
    assert not after & before


def test_a_process_that_dies_is_an_error_and_leaves_none_behind(pool_of_two):
    made = ask(pool_of_two, range(100, 400))
    _, processes = values(islice(made, 10))
    os.kill(min(processes), signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        list(made)
    gone(processes)


def test_larger_requests_get_processes_with_room_for_them(pool_of_two, monkeypatch):
    """Room for 3 requests of 16 bytes and the one in use, in half of 128 bytes; 8 of 32 in 1152."""
    monkeypatch.setattr(pool, "shared_memory_bytes", lambda: 128)
    _, first = values(ask(pool_of_two, range(20, 40)))
    monkeypatch.setattr(pool, "shared_memory_bytes", lambda: 1152)
    larger = pool_of_two.made(series(*range(20, 40)), 20, 32)
    _, second = values(larger)
    assert not first & second
    _, third = values(ask(pool_of_two, range(20, 40)))
    assert third == second


def test_closed_processes_are_gone_and_nobody_takes_their_images_for_others(pool_of_two):
    made = ask(pool_of_two, range(20, 60))
    _, processes = values(islice(made, 10))
    pool_of_two.close()
    gone(processes)
    with pytest.raises(RuntimeError, match="were ended while images were read"):
        next(made)
    pool_of_two.close()  # twice does no harm


@pytest.mark.parametrize("then", ["", "raise SystemExit(3)", "time.sleep(600)"])
def test_no_process_outlives_the_one_that_asked(then):
    """At its end, after an error, and when it is killed."""
    parent = subprocess.Popen(
        [sys.executable, "-c", NUMBERS.format(then=then)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    processes = {int(word) for word in parent.stdout.readline().split()}
    assert len(processes) == 2
    if "sleep" in then:
        parent.kill()
    assert parent.wait() == (-signal.SIGKILL if "sleep" in then else 3 if then else 0)
    parent.stdout.close()
    gone(processes)


def gone(processes):
    """Wait until none lives; a test's time limit ends it otherwise."""
    deadline = time.monotonic() + 60
    while alive := {process for process in processes if lives(process)}:
        assert time.monotonic() < deadline, f"processes {alive} still live"
        time.sleep(0.05)


def lives(process):
    """Whether it runs; the dead that nobody has asked after do not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
