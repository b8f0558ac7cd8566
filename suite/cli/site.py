"""Commands that show results to others: publish, serve, paper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.options import RunsRoot, Settings, experiments_that_ship
from suite.interface.errors import UserError
from suite.terminal import terminal

if TYPE_CHECKING:
    from analysis.site.pages import MethodText

commands = typer.Typer()
console = terminal()

Experiments = Annotated[
    list[str],
    typer.Argument(
        help="One experiment or several.",
        autocompletion=experiments_that_ship,
        show_default=False,
    ),
]


@commands.command()
def publish(
    experiments: Experiments,
    out: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("site"),
    settings: Settings = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Write a static site of experiments: pages for pairs, methods and runs, no server needed."""
    from analysis.site import build
    from sweeps.plan.manifest import manifest_path

    manifests = [manifest_path(name, settings or [], runs_root) for name in experiments]
    made = build.publish(runs_root, manifests, out, describe)
    console.print(str(made))


@commands.command()
def paper(
    experiments: Experiments,
    out: Annotated[Path, typer.Option(help="Folder of the paper.")] = Path("paper"),
    settings: Settings = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Write a folder that LaTeX compiles: tables, figures, the protocol and all citations."""
    from analysis import paper as papers
    from analysis.runs.collect import collect
    from suite.cli.catalogue import citations
    from sweeps.plan.manifest import manifest_path

    manifests = [manifest_path(name, settings or [], runs_root) for name in experiments]
    collected = collect(runs_root, manifests)
    written = papers.write(collected, out, citations(set(collected.students()["method"])))
    console.print(f"{written}: pdflatex, bibtex, and pdflatex twice")


@commands.command()
def serve(
    experiments: Experiments,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is seen by this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 8000,
    settings: Settings = None,
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Show the site of experiments while they train; writes nothing into the run store."""
    from analysis.site import live
    from sweeps.plan.manifest import manifest_path

    manifests = [manifest_path(name, settings or [], runs_root) for name in experiments]

    def ready(address: str) -> None:
        console.print(f"{address} (Ctrl-C ends it)")

    try:
        live.serve(runs_root, manifests, describe, host=host, port=port, ready=ready)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror or error}") from None


def describe(name: str) -> MethodText | None:
    """What a method says of itself; None where there is no such method here."""
    from analysis.site.pages import MethodText
    from suite import methods

    if name not in methods.names():
        return None
    method = methods.find(name)
    fields = method.Config.model_fields.items()
    defaults = {
        option: str(field.get_default(call_default_factory=True)) for option, field in fields
    }
    formula = (sys.modules[method.__module__].__doc__ or "").strip()
    return MethodText(str(method.paper or ""), formula, defaults)
