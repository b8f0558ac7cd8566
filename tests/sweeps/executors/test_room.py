"""Packs and workers that the memory has room for."""

import pytest

from suite.config import Runtime
from suite.train.footprint import Footprint
from suite.train.preflight import LIBRARIES_BYTES, Findings
from sweeps.executors.base import ExecutorOptions
from sweeps.executors.local import Local
from sweeps.executors.room import within_memory
from sweeps.plan.expand import expand

GB = 10**9
STUDENTS = [it for it in expand("dskd_digits", []).runs if it.role == "student"]  # 48
NEEDS = Footprint(shared=GB, own=GB, batches=0, making=0, step=2 * GB, looking=0)
"""4 GB and another for each run more, with the libraries 0.45 GB more."""
FINDINGS = Findings({}, ("a note",), dict.fromkeys(STUDENTS, NEEDS))


def options(jobs):
    return ExecutorOptions(executor="local", jobs=jobs)


def within(monkeypatch, room, jobs=2, findings=FINDINGS, **runtime):
    monkeypatch.setattr(Local, "device_bytes", lambda _: room)
    monkeypatch.setattr(Local, "check", lambda _: None)
    place = Runtime(accelerator="cpu", **runtime)
    executor, found = within_memory(Local(place, options(jobs)), place, options(jobs), findings)
    return executor.runtime.pack, found.notes[2:]


def test_packs_are_as_large_as_a_workers_share_of_the_memory(monkeypatch):
    """Two runs side by side need 4 + 1 GB, three 6, four 7; each of two workers has half."""
    room = 2 * (7 * GB + LIBRARIES_BYTES)
    assert within(monkeypatch, room) == ("auto", ())
    told = (
        "packs of at most 3 runs: 4 side by side would need 7.5 GB of the 7.4 GB that a worker has"
    )
    assert within(monkeypatch, room - 2) == (3, (told,))
    assert within(monkeypatch, room - 2, jobs=1) == ("auto", ())
    assert within(monkeypatch, room - 2, pack=3) == (3, ())


def test_workers_that_have_no_room_for_a_run_each_are_told(monkeypatch):
    told = "2 workers have 6.0 GB together, less than 2 x 4.5 GB: take fewer --jobs"
    assert within(monkeypatch, 6 * GB) == (1, (told,))


def test_what_is_not_known_changes_nothing(monkeypatch):
    nothing = Findings({}, ("a note",))
    assert within(monkeypatch, GB, findings=nothing) == ("auto", ())
    assert within(monkeypatch, None) == ("auto", ())


def test_the_largest_run_is_told(monkeypatch):
    monkeypatch.setattr(Local, "device_bytes", lambda _: None)
    place = Runtime(accelerator="cpu")
    large = Footprint(shared=GB, own=GB, batches=0, making=0, step=3 * GB, looking=0)
    found = Findings({}, (), {STUDENTS[0]: NEEDS, STUDENTS[8]: large})
    _, found = within_memory(Local(place, options(1)), place, options(1), found)
    assert found.notes == (f"a run needs up to 5.5 GB at its peak ({STUDENTS[8].label})",)


@pytest.mark.parametrize("pack", [1, 2])
def test_a_pack_that_was_asked_for_and_fits_stays(monkeypatch, pack):
    assert within(monkeypatch, 100 * GB, pack=pack)[0] == pack
