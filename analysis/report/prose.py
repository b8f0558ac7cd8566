"""The comment at the head of an experiment file as paragraphs: a page breaks its lines anew."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple


class Paragraph(NamedTuple):
    """A paragraph of text, or lines of code."""

    text: str
    code: bool = False


def paragraphs(note: str) -> list[Paragraph]:
    """Lines joined up to the next empty one; indented lines are code and stay as they are."""

    def kind(line: str) -> str:
        if not line.strip():
            return "empty"
        return "code" if line.startswith((" ", "\t")) else "text"

    found = []
    for name, group in groupby(note.splitlines(), kind):
        lines = [line.strip() for line in group]
        if name != "empty":
            code = name == "code"
            found.append(Paragraph(("\n" if code else " ").join(lines), code))
    return found
