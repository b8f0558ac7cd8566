"""Numbers as the tables print them; a missing number is a dash."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from analysis.statistics import power, stats
from analysis.tables.forms.render import Cell

DASH = Cell("–")


def mean_sd(values: ArrayLike, digits: int = 2) -> str:
    """``92.30 ± 0.48``; a single value has no deviation."""
    spread = stats.sd(values)
    deviation = "" if math.isnan(spread) else f" ± {spread:.{digits}f}"
    return f"{number(stats.mean(values), digits)}{deviation}"


def number(value: float, digits: int) -> str:
    """With so many decimals, never ``−0.00``."""
    return "–" if math.isnan(value) else f"{value:z,.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    """Two decimals and the sign, never ``−0.00``."""
    return "–" if math.isnan(value) else f"{value:+z.2f}".replace("-", "−")


def interval_text(interval: stats.Interval, *, signs: bool = True) -> str:
    """``[+0.10, +0.90]``; of what is no difference without ``signs``."""
    if math.isnan(interval.low):
        return "–"
    low, high = (signed(end) if signs else number(end, 2) for end in interval)
    return f"[{low}, {high}]"


def p_text(value: float) -> str:
    """Three decimals, never ``0.000``."""
    if math.isnan(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def seeds_text(difference: float, spread: float) -> str:
    """Pairs of runs that find ``difference``, at most 1,000; a dash for no or an unknown spread."""
    if not spread > 0:
        return "–"
    n = power.seeds_needed(difference, spread)
    return f">{power.MOST_SEEDS}" if n is None else str(n)


def count(value: float, *, sign: bool = False) -> str:
    """With k, M or G; ``sign`` puts a plus before what is added."""
    if math.isnan(value):
        return "–"
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{'+' if sign else ''}{value / limit:.2f}{unit}"
    return f"{'+' if sign and value else ''}{value:.0f}"


def count_cell(value: float, *, sign: bool = False) -> Cell:
    """A count; a program gets all digits."""
    return Cell(count(value, sign=sign), numbers={"": value})


def mebibytes(value: float) -> str:
    """Bytes as MiB."""
    return "–" if math.isnan(value) else f"{value / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds as s, min or h."""
    if math.isnan(seconds):
        return "–"
    size, unit = _unit_of_time(seconds)
    return f"{seconds / size:.1f} {unit}"


def durations(seconds: float, low: float, high: float) -> str:
    """``3.1 min [3.0, 3.2]``: a duration and its interval in the same unit."""
    size, _ = _unit_of_time(seconds)
    return f"{duration(seconds)} [{number(low / size, 1)}, {number(high / size, 1)}]"


def _unit_of_time(seconds: float) -> tuple[float, str]:
    if seconds < 120:
        return 1, "s"
    return (60, "min") if seconds < 7200 else (3600, "h")


def shorten(text: str, limit: int = 160) -> str:
    """At most ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def number_cell(value: float, digits: int) -> Cell:
    """With so many decimals; a program gets all."""
    return Cell(number(value, digits), numbers={"": value})


def signed_cell(value: float) -> Cell:
    """A difference."""
    return Cell(signed(value), numbers={"": value})


def p_cell(corrected: float, raw: float) -> Cell:
    """A p value of a family of tests; a program gets that of the test alone, too."""
    return Cell(p_text(corrected), numbers={"": corrected, "raw": raw})


def interval_cell(interval: stats.Interval, *, signs: bool = True) -> Cell:
    """Both ends."""
    return Cell(interval_text(interval, signs=signs), numbers=interval._asdict())


def difference_cell(difference: float, interval: stats.Interval, after: str = "") -> Cell:
    """``+0.50 [+0.10, +0.90]``: a difference and its interval, where there is one."""
    shown = "" if math.isnan(interval.low) else f" {interval_text(interval)}"
    numbers = {"mean": difference, **interval._asdict()}
    return Cell(f"{signed(difference)}{shown}{after}", numbers=numbers)


def mean_cell(values: ArrayLike, digits: int) -> Cell:
    """Mean and deviation of what is there."""
    if not stats.present(values).size:
        return DASH
    numbers = {"mean": stats.mean(values), "sd": stats.sd(values)}
    return Cell(mean_sd(values, digits), numbers=numbers)


def scores_cell(scores: stats.Array) -> Cell:
    """``92.30 ± 0.48 (3)``: accuracies, and how many; none is missing."""
    if not len(scores):
        return DASH
    numbers = {"mean": stats.mean(scores), "sd": stats.sd(scores), "n": len(scores)}
    return Cell(f"{mean_sd(scores)} ({len(scores)})", numbers=numbers)
