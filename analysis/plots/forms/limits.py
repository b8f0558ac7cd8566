"""Axes that one far-off row does not flatten: it is cut, and an arrow with its value says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

FAR = 8.0
"""Rows beyond so many median deviations from the median may be cut."""
GAIN = 4.0
"""They are, where the axis shrinks by this factor."""
ARROWS = {"low": "<", "high": ">"}
UPRIGHT = {"low": "v", "high": "^"}
LINE_POINTS = 6.0
"""Height of a line of these texts."""


class Window(NamedTuple):
    """The limits of an axis, margin included."""

    low: float
    high: float

    def side(self, value: float) -> str:
        """``low`` or ``high`` where a value lies outside, else nothing."""
        return "low" if value < self.low else "high" if value > self.high else ""

    def clip(self, value: float) -> float:
        """The value, or the edge where it lies outside."""
        return float(min(max(value, self.low), self.high))


def window(rows: Iterable[float], values: Iterable[float] = (), margin: float = 0.12) -> Window:
    """Limits that show the differences between most rows.

    Args:
        rows: One value for each row, such as the mean of a method.
        values: More that should be seen, such as single runs; those of cut rows do not count.
        margin: Room at both ends, as a share of what is shown.
    """
    middles = _finite(rows)
    if not len(middles):
        return Window(0.0, 1.0)
    median = float(np.median(middles))
    near = np.abs(middles - median) <= FAR * max(
        float(np.median(np.abs(middles - median))), 0.02 * abs(median), 1e-9
    )
    kept = middles[near]
    singles = _finite(values)
    alone = float(np.ptp(singles)) if len(singles) and len(middles) == 1 else 0.0
    reach = max(float(np.ptp(kept)), alone, 1e-6)
    if np.ptp(middles) < GAIN * reach:
        kept, reach = middles, max(float(np.ptp(middles)), reach)
    singles = singles[(singles >= kept.min() - reach) & (singles <= kept.max() + reach)]
    shown = np.concatenate([kept, singles])
    room = margin * max(float(np.ptp(shown)), 1e-6)
    return Window(float(shown.min() - room), float(shown.max() + room))


def arrow_at_edge(
    axes: Axes,
    x: float,
    y: float,
    limits: Window,
    look: dict[str, Any],
    *,
    upright: bool = False,
    text: str = "",
    ha: str = "center",
    row: int = 0,
) -> list[Line2D]:
    """An arrow where the point (x, y) left the axes, with its value; ``upright``: along y.

    ``text`` takes the place of the value. Upright texts are aligned by ``ha``, in the ``row``-th
    line from the edge, so that those of neighbours do not overlap.
    """
    value = y if upright else x
    side = limits.side(value)
    if not side:
        return []
    place = (x, limits.clip(y)) if upright else (limits.clip(x), y)
    (mark,) = axes.plot(
        *place, (UPRIGHT if upright else ARROWS)[side], ms=4, mew=0, clip_on=False, **look
    )
    inward = (4 + LINE_POINTS * row) * (1 if side == "low" else -1)
    axes.annotate(
        (text or f"{value:.3g}").replace("-", "−"),
        place,
        (0, inward) if upright else (inward, 0),
        textcoords="offset points",
        ha=ha if upright else ("left" if side == "low" else "right"),
        va=("bottom" if side == "low" else "top") if upright else "center",
        fontsize=5.5,
        **look,
    )
    return [mark]


def interval(axes: Axes, low: float, high: float, y: float, limits: Window, **look: Any) -> None:
    """A horizontal interval; an end beyond the limits has an arrow head."""
    axes.plot([limits.clip(low), limits.clip(high)], [y, y], **look)
    for end in (low, high):
        side = limits.side(end)
        if side:
            axes.plot(
                limits.clip(end), y, ARROWS[side],
                color=look["color"], ms=2.4, mew=0, clip_on=False, alpha=look.get("alpha", 1.0),
            )  # fmt: skip


def _finite(values: Iterable[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(list(values), dtype=np.float64)
    return array[np.isfinite(array)]
