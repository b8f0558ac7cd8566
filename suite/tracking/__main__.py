"""The mirror's process: ``python -m suite.tracking``. It reads the environment.

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
from suite.tracking.follow import Followers, Inbox, send_all
from suite.tracking.mirror import Outcome, stop_wandb
from suite.tracking.target import Target


def main() -> None:
    """Mirror until the pipe ends, then leave at once, whatever threads wandb still has."""
    options = _parser().parse_args()
    outcomes = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no outcome

    def report(outcome: Outcome) -> None:
        outcomes.write(f"{json.dumps(asdict(outcome))}\n")

    status = 0
    try:
        if options.live:
            os.nice(19)
        target = Target.from_environment(os.environ, options.seconds)
        inbox = Inbox(options.inbox, options.parent)
        if not options.live:
            send_all(inbox, target, report)
        elif target.mode != "disabled":
            Followers(target, report).serve(inbox)
    except UserError as error:
        report(Outcome("", "failed", str(error)))
        status = 2
    stop_wandb()
    outcomes.close()
    os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m suite.tracking", description=__doc__)
    parser.add_argument("--inbox", type=int, default=0, help="file descriptor of the pipe")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="leave after this process")
    parser.add_argument("--seconds", type=float, default=30.0, help="limit of one call of wandb")
    parser.add_argument("--live", action="store_true", help="mirror runs while they train")
    return parser


if __name__ == "__main__":
    main()
