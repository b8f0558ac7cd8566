"""The command line. It reads the environment and the arguments; the work is done elsewhere.

Exit status: 0 all went well, 1 a run failed, 2 something that the user can mend was wrong (a name,
a value, missing data, a damaged file), 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from suite.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmark suite for knowledge distillation: DSKD beside KD, FitNet, CRD, DKD and more.",
)
console = Console(soft_wrap=True)
WANDB_SECONDS = 30
"""How long to wait for one answer of W&B."""

Experiment = Annotated[
    str, typer.Argument(help="An experiment that ships with the suite, or a path to your own YAML.")
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
Threads = Annotated[int | None, typer.Option(help="CPU threads per run.")]
CheckpointSeconds = Annotated[
    float, typer.Option(help="Save after so many seconds, so that a kill costs no more.")
]
Workers = Annotated[int, typer.Option(help="Data-loading processes (image folders only).")]
FeatureEpochs = Annotated[
    int,
    typer.Option(help="Keep features after so many epochs, for plots of the gap over training."),
]
Tracker = Annotated[
    Literal["wandb", "none"], typer.Option(envvar="DSKD_TRACKER", help="Mirror runs to W&B.")
]

ExecutorName = Annotated[
    Literal["auto", "debug", "local", "slurm"],
    typer.Option(help="auto: slurm where sbatch exists, else local processes."),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(envvar="DSKD_CLUSTER", help="SLURM: YAML with partition, memory, minutes."),
]


@app.command()
def sweep(
    experiment: Experiment = "dskd_digits",
    settings: Settings = None,
    executor: ExecutorName = "auto",
    cluster: ClusterFile = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Runs (SLURM: jobs) at a time; default: one per core or device."),
    ] = None,
    detach: Annotated[
        bool, typer.Option(help="SLURM: leave once the jobs are submitted; see status, cancel.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Make the report at the end.")] = True,
    runs_root: RunsRoot = Path("runs"),
    data_root: DataRoot = Path("data"),
    accelerator: Accelerator = "auto",
    devices: Devices = 1,
    nodes: Annotated[int, typer.Option(help="SLURM: nodes per run, --devices on each.")] = 1,
    threads: Threads = None,
    workers: Workers = 4,
    feature_epochs: FeatureEpochs = 6,
    checkpoint_seconds: CheckpointSeconds = 60.0,
    tracker: Tracker = "wandb",
) -> None:
    """Train every run of an experiment that is missing, then print its table."""
    from sweeps.closing import Closing
    from sweeps.launch import How, launch
    from sweeps.manifest import stem

    runtime = _runtime(
        runs_root=runs_root,
        data_root=data_root,
        accelerator=accelerator,
        devices=devices,
        nodes=nodes,
        threads=threads,
        workers=workers,
        feature_epochs=feature_epochs,
        checkpoint_seconds=checkpoint_seconds,
        tracker=tracker,
    )
    given, place = tuple(settings or []), runs_root.resolve()
    closing = Closing(stem(experiment), given, place, report, sync=tracker == "wandb")
    how = How(executor, jobs, cluster, detach, closing)
    summary = launch(experiment, given, runtime, how, console)
    if summary.detached:
        return
    if summary.on_slurm and tracker == "wandb":  # the jobs' nodes may have had no network
        _sync(runs_root, stem(experiment))
    if report:
        _report(runs_root, summary.manifest)
    raise typer.Exit(summary.exit_status)


@app.command()
def search(
    name: Annotated[
        str, typer.Argument(help="A search that ships with the suite, or a path to your own YAML.")
    ] = "dskd_digits_search",
    settings: Settings = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials per method, in place of the search's budget.")
    ] = None,
    executor: ExecutorName = "auto",
    cluster: ClusterFile = None,
    jobs: Annotated[
        int | None, typer.Option(help="Workers (default: one per core or device).")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="DSKD_STORAGE", help="Database of the study as a URL (default: a journal file)."
        ),
    ] = None,
    tuned: Annotated[
        Path | None, typer.Option(help="Where chosen settings go (default: sweeps/tuned).")
    ] = None,
    report: Annotated[bool, typer.Option(help="Make the report at the end.")] = True,
    runs_root: RunsRoot = Path("runs"),
    data_root: DataRoot = Path("data"),
    accelerator: Accelerator = "auto",
    devices: Devices = 1,
    threads: Threads = None,
    workers: Workers = 4,
    tracker: Tracker = "wandb",
) -> None:
    """Search hyper-parameters on validation accuracy; a second call goes on with the study."""
    from sweeps.search.launch import How
    from sweeps.search.launch import search as run_search

    runtime = _runtime(
        runs_root=runs_root,
        data_root=data_root,
        accelerator=accelerator,
        devices=devices,
        threads=threads,
        workers=workers,
        tracker=tracker,
    )
    how = How(executor, jobs, cluster, storage, **({"tuned_root": tuned} if tuned else {}))
    summary = run_search(name, settings or [], runtime, how, trials=trials, console=console)
    for path in summary.chosen:
        console.print(f"chosen settings: {path}")
    if report:
        from analysis.search.report import build

        console.print(build(summary.record, summary.record.with_name("report")))
    raise typer.Exit(summary.exit_status)


@app.command()
def report(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="One experiment (default: dskd_digits), or several in one report."),
    ] = None,
    settings: Settings = None,
    source: Annotated[
        str, typer.Option(help="runs (the run store), or wandb:entity/project.")
    ] = "runs",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report (default: beside the manifest).")
    ] = None,
    tsne: Annotated[
        bool, typer.Option("--tsne", help="Draw a joint t-SNE of features too (takes minutes).")
    ] = False,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Tables and figures of experiments from the runs that exist."""
    from analysis import report as reports

    names = experiments or ["dskd_digits"]
    if source == "runs":
        from sweeps.manifest import manifest_path

        manifests = [manifest_path(name, settings or [], runs_root) for name in names]
        made = reports.build(runs_root, manifests, out or reports.folder(manifests), tsne=tsne)
    elif source.startswith("wandb:"):
        if settings:
            raise UserError("--set: a report from W&B takes all runs of an experiment, no settings")
        collected = _from_wandb(source.removeprefix("wandb:"), names)
        made = reports.write(
            collected, out or runs_root / "+".join(names) / "wandb-report", tsne=tsne
        )
    else:
        raise UserError(f"--source {source}: must be runs or wandb:entity/project")
    console.print(made)


@app.command()
def status(
    experiment: Experiment = "dskd_digits",
    settings: Settings = None,
    watch: Annotated[bool, typer.Option(help="Stay and refresh.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="A line for every run.")] = False,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """How far the runs of an experiment are, from the run store and SLURM."""
    from sweeps.status import status as show

    given = settings or []
    show(experiment, given, runs_root, console=console, watch=watch, everything=everything)


@app.command()
def cancel(
    experiment: Experiment = "dskd_digits",
    settings: Settings = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Take the jobs of an experiment out of SLURM; those that run save first."""
    from sweeps.status import cancel as take_back

    console.print(f"{take_back(experiment, settings or [], runs_root)} jobs cancelled")


@app.command()
def sync(experiment: Experiment, runs_root: RunsRoot = Path("runs")) -> None:
    """Send to W&B whatever it lacks of an experiment; can be repeated."""
    raise typer.Exit(1 if _sync(runs_root, experiment) else 0)


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(help="YAML or JSON of one run, e.g. the config.json of a record.")
    ],
    runs_root: RunsRoot = Path("runs"),
    data_root: DataRoot = Path("data"),
    accelerator: Accelerator = "auto",
    devices: Devices = 1,
    threads: Threads = None,
    workers: Workers = 4,
    checkpoint_seconds: CheckpointSeconds = 60.0,
) -> None:
    """Train one run in this process (a record's config.json trains it again elsewhere)."""
    from suite.config import RunSpec, parse
    from suite.run import run

    spec = parse(RunSpec, _run_spec(_read_yaml(config)), str(config))
    runtime = _runtime(
        runs_root=runs_root,
        data_root=data_root,
        accelerator=accelerator,
        devices=devices,
        threads=threads,
        workers=workers,
        checkpoint_seconds=checkpoint_seconds,
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run(spec, runtime)
    directory = runs_root / spec.experiment / spec.run_id
    last = json.loads((directory / "result.json").read_text())["last"]
    console.print_json(data=last)
    console.print(f"record: {directory}")


@app.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option(help="Only this benchmark; can be repeated.")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with CIFAR-100; default: random images of its shape."),
    ] = None,
    accelerator: Accelerator = "auto",
    threads: Threads = None,
    rounds: Annotated[int, typer.Option(min=1, help="Repeats, interleaved.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Training steps a turn.")] = 4,
    full: Annotated[bool, typer.Option(help="GPU: all 240 epochs instead of two.")] = False,
    results: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("results/bench"),
) -> None:
    """Measure the suite's own speed, and write the figures to results/bench."""
    import os

    import torch

    from bench.registry import Settings as BenchSettings
    from bench.run import run

    cuda = accelerator != "cpu" and torch.cuda.is_available()
    settings = BenchSettings(
        device="cuda" if cuda else "cpu",
        threads=threads or len(os.sched_getaffinity(0)),
        rounds=rounds,
        steps=steps,
        data_root=data_root,
        full=full,
    )
    command = " ".join(["dskd-bench", *sys.argv[1:]])
    if not run(only or [], settings, results, command, console):
        raise typer.Exit(1)


@app.command(name="methods")
def list_methods(
    names: Annotated[
        list[str] | None, typer.Argument(help="E.g. dkd crd+kd; default: all.")
    ] = None,
) -> None:
    """What methods read, what they add to training and to the deployed network, their papers."""
    from suite.catalogue import STUDENT, TEACHER, catalogue

    heads = ("method", "reads", "trains extra", "deploys extra", "paper", "options (defaults)")
    table = Table(*heads, box=None, pad_edge=False)
    for entry in catalogue(names):
        counts = (f"{entry.train_parameters:,}", f"{entry.deploy_parameters:,}")
        table.add_row(entry.name, entry.needs, *counts, entry.paper, entry.options)
    console.print(table)
    console.print(f"extra: parameters for {TEACHER} -> {STUDENT}; a+b adds the terms of both")


@app.command(name="models")
def list_models(
    pattern: Annotated[str, typer.Argument(help="A shell pattern, e.g. 'resnet*'.")] = "cifar_*",
    classes: Annotated[int, typer.Option(help="Number of classes.")] = 100,
) -> None:
    """Networks that timm and this suite offer, with parameters and multiply-adds."""
    from suite.models import describe, names

    table = Table("model", "input", "parameters", "multiply-adds", box=None, pad_edge=False)
    for name in names(pattern):
        table.add_row(*describe(name, classes))
    console.print(table)


@app.command(name="data")
def list_data(data_root: DataRoot = Path("data")) -> None:
    """All data sets: classes, images, and where their files must be."""
    from suite import data

    table = Table("data set", "classes", "train / val / test", "image", box=None)
    table.add_column("files", overflow="fold")
    for name in data.names():
        table.add_row(name, *data.describe(name, data_root))
    console.print(table)


def _sync(runs_root: Path, experiment: str) -> int:
    """Returns how many runs could not be sent."""
    from suite.tracker import sync as send

    summary = send(runs_root, experiment)
    console.print(str(summary), markup=False)
    return summary.failed


def _from_wandb(project: str, experiments: list[str]) -> Any:
    import wandb

    from analysis.wandb_source import collect_wandb

    try:
        return collect_wandb(wandb.Api(timeout=WANDB_SECONDS), project, experiments)
    except (wandb.Error, ValueError) as error:  # ValueError: no such project
        message = " ".join(str(error).split())
        raise UserError(f"W&B project {project} cannot be read: {message}") from None


def _report(runs_root: Path, manifest: Path) -> None:
    from analysis.report import build, folder

    console.print(build(runs_root, manifest, folder([manifest])))


def _runtime(**values: Any) -> Any:
    from suite.config import Runtime, parse

    return parse(Runtime, values, "command line")


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from None


def _run_spec(values: Any) -> Any:
    """A record's config.json as it is; a bare run becomes a run of the experiment ``single``."""
    if isinstance(values, dict) and "config" not in values:
        method = values.get("method")
        label = method.get("name") if isinstance(method, dict) else method
        return {"config": values, "experiment": "single", "label": str(label)}
    return values


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a fault the user can mend is one message and exit status 2."""
    try:
        app(arguments)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
