"""A figure's SVG as a part of a page: light, its marks findable by method and run."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import unquote

from analysis.plots.style import TAG

HEAD = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", re.DOTALL)
SIZE = re.compile(r'(<svg[^>]*?) width="([\d.]+)pt" height="[\d.]+pt"')
MARK = re.compile(rf' id="{TAG}\|([^"]*)"')
OTHER_NAME = re.compile(r' id="[A-Za-z.]+2?d?_\d+"')  # matplotlib's figure_1, line2d_7: never used
DIGITS = re.compile(r"(-?\d+\.\d\d)\d+")
POINTS = 6.9 * 72
"""Width of a figure over two text columns."""


def inline(file: Path, caption: str) -> tuple[str, int]:
    """The ``<svg>`` element, and its width in percent of a page's.

    Marks that :func:`analysis.plots.style.tag` has tagged get the class ``mark`` and say
    ``data-method``, ``data-run`` and ``data-about``.
    """
    text = HEAD.sub("", file.read_text(encoding="utf-8"))
    size = SIZE.search(text)
    width = float(size.group(2)) if size else POINTS
    label = html.escape(caption, quote=True)
    text = SIZE.sub(rf'\1 role="img" aria-label="{_literal(label)}"', text, count=1)
    text = OTHER_NAME.sub("", MARK.sub(_data, text))
    return DIGITS.sub(r"\1", text), min(100, round(100 * width / POINTS))


def _literal(text: str) -> str:
    """For the replacement of a regular expression."""
    return text.replace("\\", r"\\")


def _data(mark: re.Match[str]) -> str:
    label, *rest = (html.escape(unquote(part), quote=True) for part in mark.group(1).split("|"))
    run, about = (rest[0], ", ".join(rest[1:])) if rest else ("", "")
    known = f' data-run="{run}" data-about="{about}"' if run else ""
    return f' class="mark" data-method="{label}"{known}'
