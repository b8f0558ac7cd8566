"""The flowcharts of the documentation, read from their mermaid source and drawn as SVG.

Of mermaid's language: ``flowchart LR``; a node ``name["text<br>text"]`` where it is first named;
arrows ``a --> b`` (solid) and ``a -.-> b`` (dotted).
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

BLOCK = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE = r"(\w+)(?:[\[(]+\"([^\"]+)\"[\])]+)?"
ARROW = re.compile(rf"^\s*{NODE}\s+(-->|-\.->)\s+{NODE}\s*$")
WIDTH, HEIGHT, GAP, ROW_GAP = 172, 52, 44, 22  # of a node and between nodes, in pixels


@dataclass(frozen=True)
class Arrow:
    """From one node to another."""

    start: str
    end: str
    dotted: bool


@dataclass(frozen=True)
class Flowchart:
    """Nodes with their lines of text, and arrows."""

    nodes: dict[str, tuple[str, ...]]
    arrows: tuple[Arrow, ...]

    def columns(self) -> dict[str, int]:
        """Column of every node: the longest way to it, in arrows."""
        column = dict.fromkeys(self.nodes, 0)
        for _ in self.nodes:
            for arrow in self.arrows:
                column[arrow.end] = max(column[arrow.end], column[arrow.start] + 1)
        return column


def read(source: str) -> Flowchart:
    """Read a flowchart.

    Args:
        source: The text inside a mermaid block.

    Raises:
        ValueError: A line that is no arrow, or a node without a text.
    """
    texts: dict[str, str | None] = {}
    arrows = []
    for line in source.strip().splitlines()[1:]:
        match = ARROW.match(line)
        if match is None:
            raise ValueError(f"flowchart: {line.strip()!r} is no arrow between two nodes")
        start, start_text, kind, end, end_text = match.groups()
        texts[start] = start_text or texts.get(start)
        texts[end] = end_text or texts.get(end)
        arrows.append(Arrow(start, end, dotted=kind == "-.->"))
    nodes = {}
    for name, text in texts.items():
        if text is None:
            raise ValueError(f"flowchart: node {name!r} has no text")
        nodes[name] = tuple(text.split("<br>"))
    return Flowchart(nodes, tuple(arrows))


def svg(source: str) -> str:
    """The flowchart as an SVG element, from left to right."""
    chart = read(source)
    columns = chart.columns()
    corners = {
        name: (
            column * (WIDTH + GAP) + 1,
            [other for other in columns if columns[other] == column].index(name)
            * (HEIGHT + ROW_GAP)
            + 1,
        )
        for name, column in columns.items()
    }
    width = max(x for x, _ in corners.values()) + WIDTH + 1
    height = max(y for _, y in corners.values()) + HEIGHT + 1
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="flowchart" '
        'style="width:100%" font-family="sans-serif" font-size="13" text-anchor="middle">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>',
    ]
    for arrow in chart.arrows:
        (x1, y1), (x2, y2) = corners[arrow.start], corners[arrow.end]
        dashes = ' stroke-dasharray="4 3"' if arrow.dotted else ""
        parts.append(
            f'<line x1="{x1 + WIDTH}" y1="{y1 + HEIGHT / 2}" x2="{x2}" y2="{y2 + HEIGHT / 2}" '
            f'stroke="#555"{dashes} marker-end="url(#head)"/>'
        )
    for name, (x, y) in corners.items():
        parts.append(
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#f5f7fa" '
            'stroke="#555"/>'
        )
        lines = chart.nodes[name]
        for row, line in enumerate(lines):
            middle = y + HEIGHT / 2 + 5 + (row - (len(lines) - 1) / 2) * 17
            parts.append(f'<text x="{x + WIDTH / 2}" y="{middle}">{html.escape(line)}</text>')
    return "\n".join([*parts, "</svg>"])
