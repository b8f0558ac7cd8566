"""The templates of the site, together with those of all pages."""

from __future__ import annotations

import functools

import jinja2
from markupsafe import Markup, escape

from analysis.report.page import environment


@functools.cache
def templates() -> jinja2.Environment:
    """A template is looked for here first."""
    shared = environment()
    own = jinja2.PackageLoader("analysis", "site")
    loaders = [own] if shared.loader is None else [own, shared.loader]
    made = shared.overlay(loader=jinja2.ChoiceLoader(loaders))
    made.filters = shared.filters | {"inline_code": inline_code}
    return made


def inline_code(text: str) -> Markup:
    """A docstring's ``words`` between double backquotes as code, all else as it is."""
    parts = [str(escape(part)) for part in text.split("``")]
    if len(parts) % 2 == 0:  # one backquote pair is not closed
        return escape(text)
    return Markup("".join(f"<code>{it}</code>" if n % 2 else it for n, it in enumerate(parts)))
