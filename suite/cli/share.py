"""Commands for results that travel: export, merge, repeat, import-csv."""

from __future__ import annotations

import logging
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import Experiment, RunsRoot, takes_runtime
from suite.terminal import terminal

commands = typer.Typer()
console = terminal()

ArchiveOrStore = Annotated[
    Path, typer.Argument(help="An archive that export wrote, or a run store.", show_default=False)
]


@commands.command()
def export(
    experiment: Experiment,
    out: Annotated[Path, typer.Option(help="The archive; default: EXPERIMENT.zip.")] = Path(),
    predictions: Annotated[
        bool, typer.Option(help="What each run predicts for every evaluation image.")
    ] = True,
    features: Annotated[bool, typer.Option(help="Features of networks, for the gap.")] = False,
    with_teacher_weights: Annotated[
        bool,
        typer.Option(
            "--with-teacher-weights", help="So that students can be trained where it is merged."
        ),
    ] = False,
    with_places: Annotated[
        bool, typer.Option("--with-places", help="Keep host names and absolute paths.")
    ] = False,
    origin: Annotated[
        str | None, typer.Option(help="Who or what made these runs, in your own words.")
    ] = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Write the finished runs of an experiment, and their teachers, into one archive."""
    from sweeps.plan.manifest import stem
    from sweeps.share.export import Wanted
    from sweeps.share.export import export as write

    name = stem(experiment)
    wanted = Wanted(predictions, features, with_teacher_weights, with_places, origin)
    path = Path(f"{name}.zip") if out == Path() else out
    console.print(str(write(runs_root, name, path, wanted)), highlight=False)


@commands.command()
def merge(
    sources: Annotated[
        list[Path], typer.Argument(help="Archives and run stores.", show_default=False)
    ],
    into: Annotated[
        Path, typer.Option(envvar="DSKD_RUNS_ROOT", help="The run store that gets the runs.")
    ] = Path("runs"),
) -> None:
    """Add finished runs to a run store; conflicts are told, kept apart, and end with status 1."""
    from sweeps.share.merge import merge as join

    merged = join(sources, into)
    for line in merged.lines():
        console.print(line, highlight=False)
    raise typer.Exit(1 if merged.conflicts or merged.refused else 0)


@commands.command()
@takes_runtime("data_root", "accelerator", "threads", feature_epochs=0, tracker="none")
def repeat(
    source: ArchiveOrStore,
    run_id: Annotated[str, typer.Argument(help="The run, 16 hexadecimal digits.")],
    tolerance: Annotated[
        float,
        typer.Option(
            min=0, help="Percentage points by which accuracies of the last epoch may differ."
        ),
    ] = 0.0,
    into: Annotated[
        Path | None,
        typer.Option(help="Run store for the repeated runs (default: a temporary one)."),
    ] = None,
    *,
    runtime: Any,
) -> None:
    """Train a run again from its record; status 1 when it departs by more than the tolerance."""
    from suite.device import limits
    from sweeps.share.repeat import repeat as train_again

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    scratch = (
        tempfile.TemporaryDirectory(prefix="dskd-bench-") if into is None else nullcontext(into)
    )
    with scratch as folder:
        runtime = runtime.model_copy(update={"runs_root": Path(folder)})
        limits.check(runtime, jobs=None)

        def tell(line: str) -> None:
            console.print(line, highlight=False)

        agrees = train_again(source, run_id, runtime, tell, tolerance)
    raise typer.Exit(0 if agrees else 1)


@commands.command(name="import-csv")
def import_csv(
    file: Annotated[Path, typer.Argument(help="Columns: see docs/sharing.md.", show_default=False)],
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Take figures of another code base; tables show them as reported, never in a mean."""
    from sweeps.share.reported import import_csv as take

    added, total = take(file, runs_root)
    console.print(f"{added} figures added, {total} reported figures in {runs_root}")
