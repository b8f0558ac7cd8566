"""Commands that measure finished runs again: probe, robustness, cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import Experiment, ImageColumn, LabelColumn, Settings, takes_runtime
from suite.interface.errors import UserError
from suite.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from analysis.runs.collect import Collected
    from analysis.runs.grid import Grid
    from analysis.tables.forms.render import Table
    from suite.config import Runtime
    from suite.evaluation.each import Measurement

commands = typer.Typer()
console = terminal()
WHERE = ("runs_root", "data_root", "accelerator", "threads", "workers")


@commands.command()
@takes_runtime(*WHERE, tracker="none")
def probe(
    experiment: Experiment,
    name: Annotated[
        str, typer.Option("--data", help="Another data set, or an image folder of the data root.")
    ],
    settings: Settings = None,
    epochs: Annotated[int, typer.Option(help="Of the linear classifier.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Images in a step.")] = 64,
    lr: Annotated[
        float, typer.Option(help="Learning rate; a tenth of it after 30, 60 and 90 % of epochs.")
    ] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="Of the classifier.")] = 0.0,
    image_column: ImageColumn = "image",
    label_column: LabelColumn = "label",
    *,
    runtime: Any,
) -> None:
    """Linear probe: a classifier on the frozen features of each finished run, on other data."""
    from analysis.tables import evaluations
    from suite.config import Columns, parse
    from suite.evaluation.probe import Probe, Training

    values = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay}
    training = parse(Training, values, "probe")
    measurement = Probe(name, training, runtime, Columns(image_column, label_column))
    _measure(experiment, settings or [], measurement, runtime, evaluations.probe)


@commands.command()
@takes_runtime(*WHERE, tracker="none")
def robustness(
    experiment: Experiment,
    settings: Settings = None,
    *,
    runtime: Any,
) -> None:
    """Accuracy of each finished run on its test images under noise, blur and other corruptions."""
    from analysis.tables import evaluations
    from suite.evaluation.robustness import Robustness

    _measure(experiment, settings or [], Robustness(runtime), runtime, evaluations.robustness)


@commands.command()
@takes_runtime(*WHERE, tracker="none")
def cost(
    experiment: Experiment,
    settings: Settings = None,
    steps: Annotated[int, typer.Option(help="Training steps of one repeat.")] = 20,
    repeats: Annotated[int, typer.Option(help="Of each method, in turns.")] = 9,
    *,
    runtime: Any,
) -> None:
    """What each method's training costs alone: steps of finished runs timed on this machine."""
    from analysis.runs import cost as costs
    from suite.evaluation.cost import Plan, busy, measure
    from suite.store import cost as store
    from suite.store.record import RunDirectory

    plan = Plan(steps, repeats)
    collected, manifest = _collected(experiment, settings or [], runtime)
    first = costs.to_time(collected.runs)
    if first.empty:
        raise UserError(f"experiment {experiment!r}: no finished run that trained on one device")
    runs = [RunDirectory(runtime.runs_root / place) for place in first["directory"]]
    timed = measure(runs, plan, runtime, _tell)
    path = manifest.with_name(store.FILE)
    store.save(path, timed.entries)
    _tell_costs(collected.runs, timed.entries)
    for entry in timed.entries:
        if busy(entry["load_average"], entry["threads"]):
            _tell(
                f"other work ran beside this (load {entry['load_average']:g} on {entry['cores']} "
                "cores): times are too long; measure again when the machine is idle"
            )
            break
    for fault in timed.faults:
        _tell(fault)
    _tell(f"{len(timed.entries)} runs timed: {path}")
    raise typer.Exit(1 if timed.faults else 0)


def _tell_costs(runs: pd.DataFrame, entries: list[dict[str, Any]]) -> None:
    from analysis.tables.cost import measured
    from analysis.tables.forms.render import to_text

    _tell(to_text(measured(runs, entries)))


def _tell(line: str) -> None:
    console.print(line, highlight=False)


def _collected(experiment: str, settings: list[str], runtime: Runtime) -> tuple[Collected, Path]:
    """The runs of an experiment, and its list of them. Raises ``UserError`` if none is finished."""
    from analysis.runs.collect import collect
    from analysis.runs.records import FINISHED
    from sweeps.plan.manifest import manifest_path

    path = manifest_path(experiment, settings, runtime.runs_root)
    collected = collect(runtime.runs_root, [path])
    if not (collected.runs["state"] == FINISHED).any():
        raise UserError(f"experiment {experiment!r} has no finished run in {runtime.runs_root}")
    return collected, path


def _measure(
    experiment: str,
    settings: list[str],
    measurement: Measurement,
    runtime: Runtime,
    table: Callable[[Grid], Table],
) -> None:
    """Measure every finished run of an experiment, teachers included, and print a table."""
    from analysis.runs.grid import Grid
    from analysis.runs.records import FINISHED
    from analysis.tables.forms.render import to_text
    from suite.evaluation.each import measure_each
    from suite.store.record import RunDirectory

    collected, _ = _collected(experiment, settings, runtime)
    finished = collected.runs[collected.runs["state"] == FINISHED]
    runs = [RunDirectory(runtime.runs_root / path) for path in finished["directory"].unique()]
    done = measure_each(runs, measurement, runtime, _tell)
    made = table(Grid(collected))
    if made.rows:
        _tell(to_text(made))
    left = f", {len(done.faults)} failed" if done.faults else ""
    _tell(f"{done.made} runs measured, {done.kept} were there already{left}")
    raise typer.Exit(1 if done.faults else 0)
