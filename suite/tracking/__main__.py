"""The uploader's process: ``python -m suite.tracking``. It reads the environment.

Run directories come through a pipe, one JSON string a line; its end means that no more will come.
One JSON object a run goes to standard output: run_id, state, reason.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from suite.interface.errors import UserError
from suite.tracking.process import DEFAULT
from suite.tracking.tracker import Outcome, Tracker
from suite.tracking.trackers import find
from suite.tracking.watcher import Inbox, Watcher, send_all


def main() -> None:
    """Send until the pipe ends, then leave at once, whatever threads a library still has."""
    options = _parser().parse_args()
    outcomes = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no outcome

    def report(outcome: Outcome) -> None:
        outcomes.write(f"{json.dumps(asdict(outcome))}\n")

    status = 0
    tracker: Tracker | None = None
    try:
        if options.live:
            os.nice(19)
        tracker = find(options.tracker)(os.environ, options.seconds)
        inbox = Inbox(options.inbox, options.parent)
        if not options.live:
            send_all(inbox, tracker, report)
        elif not tracker.disabled:
            Watcher(tracker, report).serve(inbox)
    except UserError as error:
        report(Outcome("", "failed", str(error)))
        status = 2
    if tracker is not None:
        tracker.stop()
    outcomes.close()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m suite.tracking", description=__doc__)
    parser.add_argument("--inbox", type=int, default=0, help="file descriptor of the pipe")
    parser.add_argument("--tracker", default=DEFAULT, help="where to")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="leave after this process")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of one call")
    parser.add_argument("--live", action="store_true", help="send runs while they train")
    return parser


if __name__ == "__main__":
    main()
