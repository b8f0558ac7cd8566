"""W&B mirrors the run store; training never waits for it.

The run directory is the truth. A separate process reads ``config.json``, ``metrics.jsonl`` and
``result.json`` and sends what W&B lacks; the trainer only writes a path into a pipe that can
never block. Importing this package imports neither torch nor wandb.

What is guaranteed:

- *Once.* The W&B run id is the run id and the step is the epoch. Online, a run is opened with
  ``resume="allow"`` and only epochs from the first step that the server lacks are sent. Offline,
  the W&B folder is made under a hidden name, read back (every epoch once, an exit record) and
  moved into place in one step: after a kill at any moment it is whole or absent.
- *One writer.* A lock on the run directory, which ends with its process, keeps two mirrors of one
  run apart.
- *Recorded last.* ``wandb.json`` is written once W&B holds the whole run; a kill before that costs
  a repetition, never a doubled row.
- *Bounded.* Every call of wandb has a time limit, and the process leaves by itself after its
  worker. Whatever goes wrong is one line in the run's ``log.txt``, and :func:`sync` sends it later.

Online, "once" rests on the server's own count of steps; where the server answers a resumed run
with an old count, rows could be sent twice under the same step.
"""

from suite.tracking.process import Follower, Summary, sync
from suite.tracking.target import TrackerError

__all__ = ["Follower", "Summary", "TrackerError", "sync"]
