"""The templates of the site, together with those of all pages."""

from __future__ import annotations

import functools

import jinja2

from analysis.report.page import environment


@functools.cache
def templates() -> jinja2.Environment:
    """A template is looked for here first."""
    shared = environment()
    own = jinja2.PackageLoader("analysis", "site")
    loaders = [own] if shared.loader is None else [own, shared.loader]
    return shared.overlay(loader=jinja2.ChoiceLoader(loaders))
