"""Arguments and options that several commands share, and the runtime that they make."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from suite.loading import loading


def experiments_that_ship(begin: str) -> list[str]:
    """Completions of the shell."""
    return _shipped("experiments", begin)


def searches(begin: str) -> list[str]:
    """Completions of the shell."""
    return _shipped("searches", begin)


def methods(begin: str) -> list[str]:
    """Completions of the shell, after a ``+`` too."""
    from suite.methods import names

    parts, plus, last = begin.rpartition("+")
    return [f"{parts}{plus}{name}" for name in names() if name.startswith(last)]


def _shipped(kind: str, begin: str) -> list[str]:
    """Stems under ``sweeps/<kind>``; read here, since a completion must not import torch."""
    files = sorted(item.name for item in (resources.files("sweeps") / kind).iterdir())
    stems = [name.removesuffix(".yaml") for name in files if name.endswith(".yaml")]
    return [stem for stem in stems if stem.startswith(begin)]


Experiment = Annotated[
    str,
    typer.Argument(
        help="An experiment that ships with the suite, or a path to your own YAML.",
        autocompletion=experiments_that_ship,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Overrides, e.g. --set 'seeds=[0,1] epochs=5 dskd.hash_bits=512'."),
]
RunsRoot = Annotated[Path, typer.Option(envvar="DSKD_RUNS_ROOT", help="Where the runs are kept.")]
DataRoot = Annotated[Path, typer.Option(envvar="DSKD_DATA_ROOT", help="Where the data sets are.")]
Accelerator = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(envvar="DSKD_ACCELERATOR", help="Device kind.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads per run (default: 1 where a CPU trains; another number, other last bits)."
    ),
]
ImageColumn = Annotated[str, typer.Option(help="Of Parquet files: the column with the images.")]
LabelColumn = Annotated[
    str, typer.Option(help="Of Parquet files: the column with the numbers of the classes.")
]
ExecutorName = Annotated[
    str,
    typer.Option(
        help="auto (slurm where it answers, else local), in_process, local, slurm, or an "
        "installed one."
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(envvar="DSKD_CLUSTER", help="SLURM: YAML with partition, memory, minutes."),
]


def _of_runtime(
    runs_root: RunsRoot = Path("runs"),
    data_root: DataRoot = Path("data"),
    accelerator: Accelerator = "auto",
    devices: Annotated[
        int, typer.Option(help="Devices per run (distributed training when over 1).")
    ] = 1,
    nodes: Annotated[int, typer.Option(help="SLURM: nodes per run, --devices on each.")] = 1,
    threads: Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Data-loading processes of a run (image folders only; default: its cores)."
        ),
    ] = None,
    deterministic: Annotated[
        Literal["require", "prefer", "off"],
        typer.Option(help="Deterministic kernels; require: fail where an operation has none."),
    ] = "prefer",
    feature_epochs: Annotated[
        int,
        typer.Option(
            help="Keep features after so many epochs, for plots of the gap over training."
        ),
    ] = 6,
    stage_features: Annotated[
        bool,
        typer.Option(
            "--stage-features", help="Keep features of all stages, for the similarity of layers."
        ),
    ] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Save after so many seconds, so that a kill costs no more.")
    ] = 60.0,
    tracker: Annotated[
        str,
        typer.Option(
            envvar="DSKD_TRACKER", help="Where runs are shown, too: wandb, tensorboard, none ..."
        ),
    ] = "wandb",
) -> None:
    """The options of fields of :class:`suite.config.Runtime`, in the order of every ``--help``."""


Command = Callable[..., None]


def takes_runtime(*fields: str, **fixed: Any) -> Callable[[Command], Command]:
    """Give a command the options of these fields of the runtime, at its end.

    The command gets ``runtime`` in their place, made of them and of the ``fixed`` values.
    """

    def with_options(command: Command) -> Command:
        @functools.wraps(command)
        def called(**values: Any) -> None:
            chosen = {name: values.pop(name) for name in fields}
            runtime = make_runtime(**chosen, **fixed)  # first: a bad option is told at once
            with loading():
                import suite.train.preflight  # noqa: F401  (what all of these commands need)
            command(**values, runtime=runtime)

        own = inspect.signature(command, eval_str=True).parameters.values()
        of_runtime = inspect.signature(_of_runtime, eval_str=True).parameters.values()
        options = [it.replace(kind=it.KEYWORD_ONLY) for it in of_runtime if it.name in fields]
        shown = [*(it for it in own if it.name != "runtime"), *options]
        called.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        return called

    return with_options


def make_runtime(**values: Any) -> Any:
    """The :class:`suite.config.Runtime` of these options. Raises ``UserError``."""
    from suite.config import Runtime, parse

    runtime = parse(Runtime, values, "command line")
    if runtime.tracker != "none":
        from suite.tracking.trackers import check

        check(runtime.tracker, also="none")
    return runtime
