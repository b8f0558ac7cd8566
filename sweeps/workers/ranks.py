"""The processes (ranks) of one job: the first works, the others train with it what it trains.

Imports torch late: a job must be ready for signals within a second of its start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.config import RunSpec, Runtime

PATIENCE = timedelta(days=30)
"""How long the other ranks wait while rank 0 waits for a teacher."""


@dataclass(frozen=True)
class Rank:
    """Which process of its job this is."""

    number: int = 0
    local: int = 0
    port: int | None = None
    """Where the processes of one machine meet; None: one process, or the scheduler tells Fabric."""


class ProcessGroup:
    """One process, or ``devices`` x ``nodes`` that have started together."""

    def __init__(self, runtime: Runtime, rank: Rank) -> None:
        """Wait until all are there. Must be made before anything is trained."""
        self.broken = False
        """After a failure: the others may be waiting in the middle of a step, for ever."""
        if rank.port is not None:
            os.environ["LOCAL_RANK"] = str(rank.local)
            os.environ["MASTER_ADDR"] = "127.0.0.1"
            os.environ["MASTER_PORT"] = str(rank.port)
        self._group = _connect(runtime) if runtime.devices * runtime.nodes > 1 else None

    def train(
        self, specs: Sequence[RunSpec], runtime: Runtime, should_stop: Callable[[], bool]
    ) -> Mapping[RunSpec, Exception]:
        """First rank: train runs with all processes; returns those that failed."""
        from suite.train.run import Interrupted, run_packed

        self._broadcast([spec.model_dump_json() for spec in specs])
        try:
            failures = run_packed(specs, runtime, should_stop)
        except Interrupted:
            raise
        except Exception:
            self.broken = self._group is not None
            raise
        self.broken = bool(failures) and self._group is not None
        return failures

    def dismiss(self) -> None:
        """Rank 0: tell the others that nothing more will come."""
        if not self.broken:
            self._broadcast(None)

    def follow(self, runtime: Runtime, should_stop: Callable[[], bool]) -> None:
        """Other ranks: train what the first trains until it says that nothing more comes.

        Interrupted runs do not end it: a search may want another run.
        """
        from suite.config import RunSpec
        from suite.train.run import Interrupted, run_packed

        while (texts := self._broadcast(None)) is not None:
            specs = [RunSpec.model_validate_json(text) for text in texts]
            with suppress(Interrupted):
                for failure in run_packed(specs, runtime, should_stop).values():
                    raise failure

    def close(self) -> None:
        """Every rank, at its end: no connection may outlive the interpreter.

        What gloo's threads still hold as Python ends aborts the process once in some fifty times
        ("terminate called without an active exception"): SLURM then calls a finished job failed
        and cancels what depends on it. After a failure the others may be inside a step and never
        answer, so that there is nothing to close together.
        """
        if self._group is None or self.broken:
            return
        from torch import distributed

        self._group = None
        distributed.destroy_process_group()

    def _broadcast(self, texts: list[str] | None) -> list[str] | None:
        """Broadcast from rank 0."""
        if self._group is None:
            return texts
        from torch import distributed

        content = [json.dumps(texts)]
        distributed.broadcast_object_list(content, src=0, group=self._group)
        received: list[str] | None = json.loads(content[0])
        return received


def _connect(runtime: Runtime) -> Any:
    """Open the connection that the runs find later; returns one for the ranks themselves."""
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
