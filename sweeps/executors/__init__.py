"""Where workers run. Executor name -> its factory.

``sweeps/executors/`` has one file for each executor of ours; installed packages add theirs through
the entry-point group ``dskd_bench.executors`` (name = "package.module:Factory"). ``auto`` is SLURM
where it answers, else this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from suite.config import Runtime
from suite.interface.errors import UserError, unknown
from sweeps.executors.base import Executor, ExecutorOptions

ENTRY_POINT_GROUP = "dskd_bench.executors"
AUTO = "auto"
OURS = {
    "in_process": "sweeps.executors.in_process:InProcess",
    "debug": "sweeps.executors.in_process:InProcess",  # its name before
    "local": "sweeps.executors.local:Local",
    "slurm": "sweeps.executors.slurm:Slurm",
}


def names() -> tuple[str, ...]:
    """All executors, ``auto`` first."""
    return (AUTO, *sorted(OURS.keys() | _installed().keys()))


def find(runtime: Runtime, options: ExecutorOptions) -> Executor:
    """The executor that the options name, which has refused what it does not carry.

    Raises:
        UserError: There is none of that name, or it does not carry what is wanted.
    """
    name = _automatic() if options.executor == AUTO else options.executor
    executor = _factory(name)(runtime, options)
    executor.check()
    return executor


def _automatic() -> str:
    from sweeps.slurm.jobs import available

    return "slurm" if available() else "local"


def _factory(name: str) -> Callable[[Runtime, ExecutorOptions], Executor]:
    point = _installed().get(name)
    if name not in OURS and point is None:
        raise UserError(f"--executor: {unknown('executor', name, names())}")
    if name in OURS and point is not None:
        raise UserError(f"--executor {name}: the entry point {point.value} takes a name of ours")
    module, _, attribute = (OURS[name] if point is None else point.value).partition(":")
    factory: Callable[[Runtime, ExecutorOptions], Executor]
    factory = getattr(import_module(module), attribute)
    return factory


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
