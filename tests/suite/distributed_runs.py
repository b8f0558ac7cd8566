"""Trains every run of a file, on one rank or as one of several; what test_distributed.py starts."""

import json
import sys
from pathlib import Path

from suite.config import RunSpec, Runtime
from suite.run import run

if __name__ == "__main__":
    specs, runs_root, devices = json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:]
    runtime = Runtime(
        runs_root=runs_root, accelerator="cpu", devices=devices, threads=1, tracker="none"
    )
    for spec in specs:
        run(RunSpec.model_validate(spec), runtime)
