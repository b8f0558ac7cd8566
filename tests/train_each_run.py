"""Trains every run of a file, on one rank or as one of several; what two_ranks.py starts.

Without the fast paths, whose sums round more: RKD would carry that beyond the test's tolerance.
"""

import json
import sys
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.train.run import run

if __name__ == "__main__":
    specs, runs_root, devices = json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:]
    places = {"runs_root": runs_root, "accelerator": "cpu", "devices": devices}
    runtime = Runtime(**places, threads=1, tracker="none", fast=False)
    for spec in specs:
        run(RunSpec.model_validate(spec), runtime)
