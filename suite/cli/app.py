"""The command line. It reads the environment and the arguments; the work is done elsewhere.

Exit status: 0 all went well, 1 a run failed or could not be sent, 2 something that the user can
mend was wrong (a name, a value, missing data, a damaged file), 3 a fault of the suite itself (its
traceback is in the file that the message names), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.common import TRACEBACK, common, told
from suite.cli.evaluation import commands as evaluation
from suite.cli.init import commands as init
from suite.cli.options import (
    Accelerator,
    ClusterFile,
    ExecutorName,
    Experiment,
    RunsRoot,
    Settings,
    Threads,
    experiments_that_ship,
    searches,
    takes_runtime,
)
from suite.cli.share import commands as share
from suite.cli.single import commands
from suite.cli.site import commands as site
from suite.interface.errors import UserError
from suite.terminal import terminal

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Benchmark suite for knowledge distillation: DSKD beside KD, FitNet, CRD, DKD and more.",
)
app.add_typer(commands)
app.add_typer(share)
app.add_typer(init)
app.add_typer(site)
app.add_typer(evaluation)
app.callback()(common)
console = terminal()
FAULT_OF_THE_SUITE = 3
WANDB_SECONDS = 30
"""How long to wait for one answer of W&B."""


@app.command()
@takes_runtime(
    *("runs_root", "data_root", "accelerator", "devices", "nodes", "threads", "workers"),
    *("deterministic", "feature_epochs", "stage_features", "checkpoint_seconds", "tracker"),
)
def sweep(
    experiment: Experiment = "dskd_digits",
    settings: Settings = None,
    executor: ExecutorName = "auto",
    cluster: ClusterFile = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs (SLURM: jobs) at a time; default: one per core or device that has memory."
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option(help="SLURM: leave once the jobs are submitted; see status, cancel.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Train the experiment's students again; their old records are set aside.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be trained; start nothing.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Make the report at the end.")] = True,
    *,
    runtime: Any,
) -> None:
    """Train every run of an experiment that is missing, then print its table."""
    from sweeps.launch import LaunchOptions, launch
    from sweeps.plan.manifest import stem
    from sweeps.slurm.finalize import Finalize

    overrides, root = tuple(settings or []), runtime.runs_root.resolve()
    to_wandb = runtime.tracker == "wandb"
    finalize = Finalize(stem(experiment), overrides, root, report, sync=to_wandb)
    options = LaunchOptions(executor, jobs, cluster, detach, finalize, force, dry_run)
    summary = launch(experiment, overrides, runtime, options, console)
    if dry_run:
        raise typer.Exit(summary.exit_status)
    if summary.detached:
        return
    if summary.remote and to_wandb:  # the jobs' nodes may have had no network
        _sync(runtime.runs_root, stem(experiment))
    if report:
        _report(runtime.runs_root, summary.manifest)
    raise typer.Exit(summary.exit_status)


@app.command()
@takes_runtime(
    *("runs_root", "data_root", "accelerator", "devices", "threads", "workers", "tracker"),
    feature_epochs=0,  # no report shows the gap over the epochs of a trial
)
def search(
    name: Annotated[
        str,
        typer.Argument(
            help="A search that ships with the suite, or a path to your own YAML.",
            autocompletion=searches,
        ),
    ] = "dskd_digits_search",
    settings: Settings = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials per method, in place of the search's budget.")
    ] = None,
    executor: ExecutorName = "auto",
    cluster: ClusterFile = None,
    jobs: Annotated[
        int | None, typer.Option(help="Workers (default: one per core or device that has memory).")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="DSKD_STORAGE", help="Database of the study as a URL (default: a journal file)."
        ),
    ] = None,
    tuned: Annotated[
        Path | None, typer.Option(help="Where chosen settings go (default: tuned).")
    ] = None,
    report: Annotated[bool, typer.Option(help="Make the report at the end.")] = True,
    *,
    runtime: Any,
) -> None:
    """Search hyper-parameters on validation accuracy; a second call goes on with the study."""
    from sweeps.plan.tuned import TUNED_ROOT
    from sweeps.search.launch import SearchOptions
    from sweeps.search.launch import search as run_search

    options = SearchOptions(
        executor, jobs, cluster, storage=storage, tuned_root=tuned or TUNED_ROOT
    )
    summary = run_search(name, settings or [], runtime, options, trials=trials, console=console)
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
        typer.Argument(
            help="One experiment (default: dskd_digits), or several in one report.",
            autocompletion=experiments_that_ship,
        ),
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
        from sweeps.plan.manifest import manifest_path

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
    from sweeps.watch.status import status as show

    show(experiment, settings or [], runs_root, console=console, watch=watch, everything=everything)


@app.command()
def cancel(
    experiment: Experiment = "dskd_digits",
    settings: Settings = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Take the jobs of an experiment out of SLURM; those that run save first."""
    from sweeps.watch.status import cancel as take_back

    console.print(f"{take_back(experiment, settings or [], runs_root)} jobs cancelled")


@app.command()
def sync(
    experiment: Experiment,
    tracker: Annotated[str, typer.Option(help="Where to: wandb, tensorboard ...")] = "wandb",
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Send to a tracker whatever it lacks of an experiment; can be repeated. W&B without a key:
    status 1.
    """
    from suite.names import TEACHERS
    from sweeps.plan.manifest import stem

    name = experiment if experiment == TEACHERS else stem(experiment)
    raise typer.Exit(1 if _sync(runs_root, name, tracker) else 0)


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
    results: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("runs/bench"),
) -> None:
    """Measure the suite's own speed, and write the figures to runs/bench (see --results)."""
    from bench.run import main as measure

    command = " ".join(["dskd-bench", *sys.argv[1:]])
    options = {"rounds": rounds, "steps": steps, "full": full, "data_root": data_root}
    if not measure(only or [], accelerator, threads, options, results, command, console):
        raise typer.Exit(1)


def _sync(runs_root: Path, experiment: str, tracker: str = "wandb") -> int:
    """Returns how many runs could not be sent."""
    from suite.tracking import sync as send

    summary = send(runs_root, experiment, tracker)
    console.print(str(summary))
    return summary.failed + summary.unsent


def _from_wandb(project: str, experiments: list[str]) -> Any:
    import wandb

    from analysis.runs.wandb_source import collect_wandb

    try:
        return collect_wandb(wandb.Api(timeout=WANDB_SECONDS), project, experiments)
    except (wandb.Error, ValueError) as error:  # ValueError: no such project
        message = " ".join(str(error).split())
        raise UserError(f"W&B project {project} cannot be read: {message}") from None


def _report(runs_root: Path, manifest: Path) -> None:
    from analysis.report import build, folder

    console.print(build(runs_root, manifest, folder([manifest])))


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a fault the user can mend is one message and exit status 2, another one 3."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except Exception as error:
        if "--traceback" in words or os.environ.get(TRACEBACK):
            raise
        sys.stderr.write(f"{told(error, words)}\n")
        sys.exit(FAULT_OF_THE_SUITE)
