"""A worker that makes one optimizer step, saves and leaves: ``python -m bench.first_step JOB``."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path

from suite.ending import QuickExit
from sweeps.workers.job import Job
from sweeps.workers.ranks import Rank


def main(path: Path) -> None:
    """Do the pickled job as a worker does, until it is asked for the second time to stop."""
    job: Job = pickle.loads(path.read_bytes())
    asked = itertools.count()  # once before there is a run, then after every step
    job.run(lambda: next(asked) > 0, Rank())


if __name__ == "__main__":
    end = QuickExit()  # as a worker has
    main(Path(sys.argv[1]))
    end.allow()
