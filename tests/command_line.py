"""The command as a user starts it: in a process group of its own, or in this process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from suite.cli.app import main

ROOT = Path(__file__).parents[1]


def in_process(capsys, *words):
    """(exit status, output, errors) of ``dskd-bench`` with these arguments, here."""
    status = _status(*words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def finished_sweep(folder, settings):
    """The folder, with the runs of a short ``dskd_digits`` sweep, trained in this process."""
    common = ("--runs-root", folder, "--executor", "in_process", "--no-report", "--tracker", "none")
    assert _status("sweep", "dskd_digits", "--set", settings, *common) == 0
    return folder


def _status(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return end.code or 0
    return 0


def start(*words):
    """``dskd-bench`` with these arguments; its output is one text."""
    return subprocess.Popen(
        [sys.executable, "-m", "suite.cli", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )


def hear_interrupts():
    """What a shell has put into the background ignores SIGINT, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process):
    """(exit status, output)."""
    out, _ = process.communicate(timeout=300)
    return process.returncode, out
