"""A folder that LaTeX compiles: tables, figures, the protocol and what to cite, of experiments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import jinja2

from analysis import report
from analysis.paper import bibliography, protocol
from analysis.report.picture import Shown
from analysis.runs.collect import Collected
from analysis.tables.forms.latex import escape

MARK = re.compile(r" \[@([^\]]+)\]")
WIDE_PIXELS = 4 * 220
"""Pictures are drawn in 220 dots an inch; what is wider than 4 inches takes both columns."""


def write(collected: Collected, out: Path, citations: Mapping[str, str]) -> Path:
    """Write ``paper.tex``, ``references.bib``, ``tables/`` and ``figures/`` into ``out``.

    Args:
        collected: What there is of the experiments.
        out: The folder of the paper.
        citations: Method (``crd+kd``) -> the BibTeX of its papers.

    Returns:
        The path of ``paper.tex``.

    Raises:
        analysis.report.ReportError: ``out`` cannot be written, or there is nothing to compare.
    """
    made = report.parts(collected, out)
    shown = [picture for picture in made.pictures if not picture.fault and picture.pdf.is_file()]
    keys = bibliography.chosen(
        protocol.cited(made.grid, citations),
        protocol.datasets(made.grid),
        tuned=protocol.is_tuned(made.grid),
    )
    (out / "references.bib").write_text("\n".join(keys.values()) + "\n", encoding="utf-8")
    paper = out / "paper.tex"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis", "paper"),
        block_start_string="((*",
        block_end_string="*))",
        variable_start_string="(((",
        variable_end_string=")))",
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # TeX: the filter `tex` escapes
    )
    environment.filters["tex"] = tex
    text = environment.get_template("paper.tex.jinja").render(
        experiment=collected.experiment,
        command=collected.command,
        protocol=protocol.paragraphs(made.grid, citations),
        tables=[table.name for table in made.tables],
        figures=[_figure(picture) for picture in shown],
    )
    paper.write_text(text, encoding="utf-8")
    return paper


def tex(text: str) -> str:
    """Plain text with marks ``[@key,key]`` as LaTeX with citations."""
    marked = MARK.sub(lambda match: f"\0{match[1]}\0", text)
    words = marked.split("\0")  # text, keys, text, keys, ... text
    return "".join(
        f"~\\cite{{{word}}}" if number % 2 else escape(word) for number, word in enumerate(words)
    )


def _figure(picture: Shown) -> dict[str, str]:
    width = int.from_bytes(picture.png.read_bytes()[16:20], "big")  # from the PNG's header
    star = "*" if width > WIDE_PIXELS else ""
    return {"name": picture.name, "caption": picture.caption, "star": star}
