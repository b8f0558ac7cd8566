"""A process that has done its work ends at once; one that failed ends as Python has it."""

import subprocess
import sys

import pytest

BEGIN = """
import atexit, sys
from suite.ending import QuickExit

class Kept:
    def __del__(self):
        print("taken apart")

end = QuickExit()
atexit.register(print, "registered later")
kept = Kept()
kept.itself = kept
sys.stdout.write("written, not flushed; ")
"""


def ended(code):
    """(exit status, lines of output, lines of errors) of a process."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize("status", [0, 1, 130])
def test_what_is_registered_for_the_end_runs_and_nothing_is_lost_or_taken_apart(status):
    out = ["written, not flushed; registered later"]
    assert ended(f"end.allow({status})") == (status, out, [])


def test_unless_allowed_python_ends_as_always():
    status, out, errors = ended("")
    assert (status, errors) == (0, [])
    assert out == ["written, not flushed; registered later", "taken apart"]


def test_an_exception_after_it_was_allowed_still_makes_a_failure():
    status, out, errors = ended("end.allow()\nraise OSError('the disk is full')")
    assert status == 1
    assert errors[-1] == "OSError: the disk is full"
    assert out[-1] == "taken apart"


def test_an_output_that_cannot_be_written_makes_a_failure():
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{BEGIN}end.allow()' >/dev/full"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "No space left" in done.stderr
