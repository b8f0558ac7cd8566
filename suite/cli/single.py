"""Commands about one run, and about what there is: methods, models, data sets."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from suite.cli.options import ClusterFile, DataRoot, RunsRoot, takes_runtime
from suite.cli.options import methods as completions
from suite.terminal import terminal

if TYPE_CHECKING:
    from suite.config import Runtime

commands = typer.Typer()
console = terminal()


@commands.command()
@takes_runtime(
    *("runs_root", "data_root", "accelerator", "devices", "threads", "workers"),
    *("deterministic", "checkpoint_seconds"),
)
def train(
    config: Annotated[
        Path, typer.Argument(help="YAML or JSON of one run, e.g. the config.json of a record.")
    ],
    *,
    runtime: Any,
) -> None:
    """Train one run in this process (a record's config.json trains it again elsewhere)."""
    from suite.config import RunSpec, parse
    from suite.device import limits
    from suite.device.memory import of_device
    from suite.train.build import device_of
    from suite.train.preflight import check, require_teacher
    from suite.train.run import run
    from suite.yaml_input import load_file

    limits.check(runtime, jobs=None)
    values = _with_contents(_run_spec(load_file(config)), runtime)
    spec = parse(RunSpec, values, str(config))
    require_teacher(spec, runtime)
    for fault in check([spec], runtime, of_device(device_of(runtime))).faults.values():
        raise fault
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    run(spec, runtime)
    directory = runtime.runs_root / spec.experiment / spec.run_id
    last = json.loads((directory / "result.json").read_text())["last"]
    console.print_json(data=last)
    console.print(f"record: {directory}")


@commands.command(name="methods")
def list_methods(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="E.g. dkd crd+kd; default: all.", autocompletion=completions),
    ] = None,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Only the papers, as BibTeX.")] = False,
) -> None:
    """What methods read, what they add to training and to the deployed network, their papers."""
    from suite.cli.catalogue import STUDENT, TEACHER, TRAIN_IMAGES, bibliography, catalogue
    from suite.train.optimization.dot import PAPER as DOT_PAPER

    if bibtex:
        console.print(bibliography(names), highlight=False)
        return
    for entry in catalogue(names):
        console.print(Text.assemble((entry.name, "bold"), f"  {entry.paper}"))
        extra = f"{entry.train_parameters:,} to training, {entry.deploy_parameters:,} deployed"
        if entry.memory:
            extra += f", {entry.memory / 1e6:.0f} MB for {TRAIN_IMAGES:,} training images"
        console.print(f"  reads {entry.needs}\n  adds {extra}", highlight=False)
        console.print(f"  options: {entry.options}", highlight=False)
    if names is None:
        console.print(f"optimizer.name=dot: {DOT_PAPER}", highlight=False)
    console.print(f"added: parameters for {TEACHER} -> {STUDENT}; a+b adds the terms of both")


@commands.command(name="models")
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


@commands.command(name="data")
def list_data(data_root: DataRoot = Path("data")) -> None:
    """All data sets: classes, images, and where their files must be."""
    from suite import data

    table = Table("data set", "classes", "train / val / test", "image", box=None)
    table.add_column("files", overflow="fold")
    for name in data.names(data_root):
        table.add_row(name, *data.describe(name, data_root))
    console.print(table)


@commands.command()
def doctor(
    runs_root: RunsRoot = Path("runs"),
    data_root: DataRoot = Path("data"),
    cluster: ClusterFile = None,
) -> None:
    """Whether this machine has what the suite needs, with a cure for each fault (then status 2)."""
    from suite.cli.doctor import Surroundings, examine, line

    faults = 0
    for finding in examine(Surroundings(runs_root, data_root, cluster)):
        console.print(line(finding))
        faults += finding.grade == "fault"
    console.print("nothing to mend" if not faults else f"{faults} to mend")
    raise typer.Exit(2 if faults else 0)


def _with_contents(values: Any, runtime: Runtime) -> Any:
    """Which images an image folder holds, where the run does not say it."""
    from suite import data
    from suite.config import Columns

    try:
        section = values["config"]["data"]
        name, known = section["name"], section.get("contents")
    except (TypeError, LookupError, AttributeError):
        return values  # the parser says what is missing
    if known is not None or not isinstance(name, str) or not data.in_folders(name):
        return values
    columns = Columns.of(section)
    contents = data.identify(name, runtime.data_root, runtime.data_cache, columns)
    return {**values, "config": {**values["config"], "data": {**section, "contents": contents}}}


def _run_spec(values: Any) -> Any:
    """A record's config.json as it is; a bare run becomes a run of the experiment ``single``."""
    if isinstance(values, dict) and "config" not in values:
        method = values.get("method")
        label = method.get("name") if isinstance(method, dict) else method
        return {"config": values, "experiment": "single", "label": str(label)}
    return values
