"""The command as a user starts it, in a process group of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


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
