"""One of two processes that train the runs of a file together."""

import json
import os
import sys
from pathlib import Path

path, root, rank, port = sys.argv[1:]  # of a list of runs, of the run store; 0 or 1; where to meet
os.environ |= {"LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

from suite.config import RunSpec, Runtime  # noqa: E402
from suite.run import run  # noqa: E402

runtime = Runtime(runs_root=Path(root), accelerator="cpu", devices=2, threads=1, tracker="none")
for values in json.loads(Path(path).read_text()):
    run(RunSpec.model_validate(values), runtime)
