"""``python -m sweeps.workers JOB LAUNCHER RANK PORT``: a worker in a process of this machine."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from suite.ending import QuickExit
from sweeps.workers.job import Job, StopSignals
from sweeps.workers.ranks import Rank


def main(path: Path, launcher: int, rank: Rank) -> None:
    """Do the pickled job; stop, too, when the launcher is gone: a worker has another parent then.

    The terminal's interrupt would hit in the middle of a step: the launcher catches it and asks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopSignals()
    job: Job = pickle.loads(path.read_bytes())
    job.run(lambda: stop() or os.getppid() != launcher, rank)
    stop.ignore()


if __name__ == "__main__":
    end = QuickExit()
    parent, number, port = map(int, sys.argv[2:])
    main(Path(sys.argv[1]), parent, Rank(number, number, port or None))
    end.allow()
