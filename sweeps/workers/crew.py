"""The processes of one job: the first works, the others train with it whatever it trains.

Imports torch late: a job must be ready for signals within a second of its start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submitit import JobEnvironment

    from suite.config import RunSpec, Runtime

PATIENCE = timedelta(days=30)
"""The others wait so long while the first waits for a teacher."""
PORTS = range(20000, 30000)
"""Where the processes of a job on one machine meet; its id chooses."""


class Crew:
    """One process, or ``devices`` x ``nodes`` that submitit has started together."""

    def __init__(self, runtime: Runtime, job: JobEnvironment) -> None:
        """Wait until all are there. Must be made before anything is trained."""
        self.leads = job.global_rank == 0
        self.broken = False
        """After a failure: the others may be waiting in the middle of a step, for ever."""
        size = runtime.devices * runtime.nodes
        if size > 1 and job.cluster != "slurm":  # under SLURM, Fabric finds its way
            os.environ["LOCAL_RANK"] = str(job.local_rank)
            os.environ["MASTER_ADDR"] = "127.0.0.1"
            os.environ["MASTER_PORT"] = str(PORTS[int(job.job_id) % len(PORTS)])
        self._group = _connect(runtime) if size > 1 else None

    def run(self, spec: RunSpec, runtime: Runtime, should_stop: Callable[[], bool]) -> None:
        """Lead: train a run with all processes. Raises what the training raises."""
        from suite.train.run import Interrupted, run

        self._first_says(spec.model_dump_json())
        try:
            run(spec, runtime, should_stop)
        except Interrupted:
            raise
        except Exception:
            self.broken = self._group is not None
            raise

    def dismiss(self) -> None:
        """Lead: nothing more will come."""
        if not self.broken:
            self._first_says(None)

    def follow(self, runtime: Runtime, should_stop: Callable[[], bool]) -> None:
        """Train what the first process trains until it says that nothing more comes.

        A run that all have agreed to stop is not the end: a search may want another one.
        """
        from suite.config import RunSpec
        from suite.train.run import Interrupted, run

        while (text := self._first_says(None)) is not None:
            with suppress(Interrupted):
                run(RunSpec.model_validate_json(text), runtime, should_stop)

    def _first_says(self, text: str | None) -> str | None:
        """What the first process says, to all."""
        said = [text]
        if self._group is not None:
            from torch import distributed

            distributed.broadcast_object_list(said, src=0, group=self._group)
        return said[0]


def _connect(runtime: Runtime) -> Any:
    """Open the connection that the runs find later; returns one for the crew itself."""
    from lightning_fabric import Fabric
    from torch import distributed

    from suite.device.distributed import strategy

    Fabric(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        num_nodes=runtime.nodes,
        strategy=strategy(),
    ).launch()
    return distributed.new_group(backend="gloo", timeout=PATIENCE)
