"""The tables of a report, each a :class:`Table`; every form of text comes later."""

from analysis.tables.accuracy import accuracy
from analysis.tables.anchors import published_figures, verdict
from analysis.tables.checks import holes, selection
from analysis.tables.comparisons import comparisons
from analysis.tables.cost import cost
from analysis.tables.differences import differences
from analysis.tables.gaps import gap_holes, gap_intervals, gaps
from analysis.tables.sensitivity import sensitivity
from analysis.tables.variants import variants

__all__ = [
    "accuracy",
    "comparisons",
    "cost",
    "differences",
    "gap_holes",
    "gap_intervals",
    "gaps",
    "holes",
    "published_figures",
    "selection",
    "sensitivity",
    "variants",
    "verdict",
]
