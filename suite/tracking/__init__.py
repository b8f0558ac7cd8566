"""Trackers show the run store elsewhere; training never waits for them. W&B is the usual one.

The run directory is the truth. A separate process reads ``config.json``, ``metrics.jsonl`` and
``result.json`` and sends what a tracker lacks; the trainer only writes a path into a pipe that can
never block. Importing this package imports neither torch nor wandb.

What is guaranteed:

- *Once.* The step is the epoch. W&B: the W&B run id is the run id; online, a run is opened with
  ``resume="allow"`` and only epochs from the first step that the server lacks are sent; offline,
  the W&B folder is made under a hidden name, read back (every epoch once, an exit record) and
  moved into place in one step: after a kill at any moment it is whole or absent. TensorBoard: the
  file of a run is written anew from its metrics and replaces the old one.
- *One writer.* A lock on the run directory, which ends with its process, keeps two uploaders of one
  run apart.
- *Recorded last.* ``wandb.json`` is written once W&B holds the whole run; a kill before that costs
  a repetition, never a doubled row.
- *Bounded.* Every call of wandb has a time limit, and the process leaves by itself after its
  worker. Whatever goes wrong is one line in the run's ``log.txt``, and :func:`sync` sends it later.

Online, "once" rests on the server's own count of steps; where the server answers a resumed run
with an old count, rows could be sent twice under the same step.

tracker.py     what a tracker is;  trackers/: one file each
describe.py    what a tracker shows of a run
sync_state.py  what it already holds of a run, and the lock
uploader.py    brings it up to date with one run
watcher.py     which runs come, when to try, when to give up
process.py     starts the process that does so
"""

from suite.tracking.process import Summary, Uploader, sync
from suite.tracking.tracker import TrackerError

__all__ = ["Summary", "TrackerError", "Uploader", "sync"]
