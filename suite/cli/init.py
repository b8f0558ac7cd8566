"""`dskd-bench init`: an experiment on the user's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import ImageColumn, LabelColumn, RunsRoot, make_runtime
from suite.terminal import terminal

commands = typer.Typer()
console = terminal()


@commands.command()
def init(
    name: Annotated[str, typer.Argument(help="The experiment: NAME.yaml is written here.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder of pictures: {train,val}/CLASS/*, or CLASS/* (then links split it), or "
            "Parquet files of the Hugging Face hub, data/{train,validation}-*.parquet."
        ),
    ],
    teacher: Annotated[str, typer.Option(help="timm's name, e.g. convnext_tiny.")],
    student: Annotated[str, typer.Option(help="timm's name, e.g. mobilenetv4_conv_small.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="Where the teacher starts: pretrained (timm's), none, or a file. "
            "Default: pretrained where timm has weights."
        ),
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=32, help="Side in pixels.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a student.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 3,
    image_column: ImageColumn = "image",
    label_column: LabelColumn = "label",
    runs_root: RunsRoot = Path("runs"),
) -> None:
    """Write an experiment on your own pictures: a fine-tuned teacher and six distilled students."""
    from suite.config import Columns
    from sweeps.init.experiment_file import Wishes, write
    from sweeps.init.pictures import look

    links, columns = Path(f"{Path(name).stem}_pictures"), Columns(image_column, label_column)
    pictures = look(data, links, columns)
    images = ", ".join(f"{count} in {split}" for split, count in pictures.images.items())
    console.print(
        f"{pictures.folder}: {len(pictures.classes)} classes, images: {images}; "
        f"shorter sides of {pictures.side} pixels (median)",
        highlight=False,
    )
    runtime = make_runtime(runs_root=runs_root, data_root=pictures.folder.parent, accelerator="cpu")
    wishes = Wishes(teacher, student, weights, image_size, epochs, seeds)
    written = write(name, wishes, pictures, runtime)
    for method, reason in written.left_out.items():
        console.print(f"left out: {method}: {reason}", highlight=False)
    console.print(f"{written.path}: {written.runs} runs; train and report them:", highlight=False)
    console.print(f"  {written.command}", highlight=False)
