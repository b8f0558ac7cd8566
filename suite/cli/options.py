"""Arguments and options that several commands share, and the runtime that they make."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


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
Devices = Annotated[int, typer.Option(help="Devices per run (distributed training when over 1).")]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads per run (default: 1 where a CPU trains; another number, other last bits)."
    ),
]
CheckpointSeconds = Annotated[
    float, typer.Option(help="Save after so many seconds, so that a kill costs no more.")
]
Deterministic = Annotated[
    Literal["require", "prefer", "off"],
    typer.Option(help="Deterministic kernels; require: fail where an operation has none."),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Data-loading processes of a run (image folders only; default: its cores)."),
]
ImageColumn = Annotated[str, typer.Option(help="Of Parquet files: the column with the images.")]
LabelColumn = Annotated[
    str, typer.Option(help="Of Parquet files: the column with the numbers of the classes.")
]
FeatureEpochs = Annotated[
    int,
    typer.Option(help="Keep features after so many epochs, for plots of the gap over training."),
]
StageFeatures = Annotated[
    bool,
    typer.Option(
        "--stage-features", help="Keep features of all stages, for the similarity of layers."
    ),
]
Tracker = Annotated[
    str,
    typer.Option(
        envvar="DSKD_TRACKER", help="Where runs are shown, too: wandb, tensorboard, none ..."
    ),
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


def make_runtime(**values: Any) -> Any:
    """The :class:`suite.config.Runtime` of these options. Raises ``UserError``."""
    from suite.config import Runtime, parse

    runtime = parse(Runtime, values, "command line")
    if runtime.tracker != "none":
        from suite.tracking.trackers import check

        check(runtime.tracker, also="none")
    return runtime
