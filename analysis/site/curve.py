"""A run's metrics over epochs as a small drawing for its page."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from analysis.runs.records import Rows

WIDTH, HEIGHT, LEFT, BOTTOM = 420.0, 150.0, 40.0, 22.0
LOOKS = ("#0072B2", "#D55E00", "#009E73")
DASHES = ("none", "5 3", "1 2")


def curves(rows: Rows, suffix: str) -> Markup:
    """All metrics that end in ``suffix`` over epochs; empty for fewer than two epochs of them."""
    names = dict.fromkeys(name for row in rows for name in row if name.endswith(suffix))
    lines = {name: [(row["epoch"], row[name]) for row in rows if name in row] for name in names}
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        return Markup()
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    last = max(epoch for points in lines.values() for epoch, _ in points)
    parts = [_axis(low, high, last)]
    for number, (name, points) in enumerate(lines.items()):
        colour, dash = LOOKS[number % len(LOOKS)], DASHES[number % len(DASHES)]
        path = _path(points, low, max(high, low + 1e-9), last)
        parts.append(
            Markup(
                '<path d="{}" fill="none" stroke="{}" stroke-dasharray="{}" stroke-width="1.5"/>'
                '<text x="{}" y="{}" fill="{}">{}</text>'
            ).format(path, colour, dash, WIDTH + 6, 14 + 14 * number, colour, name)
        )
    box = f"0 0 {WIDTH + 130:g} {HEIGHT + BOTTOM:g}"
    title = f"{', '.join(lines)} over {last} epochs, from {low:.4g} to {high:.4g}"
    return Markup('<svg class="curve" viewBox="{}" role="img" aria-label="{}">{}</svg>').format(
        box, title, Markup("").join(parts)
    )


def _path(points: Sequence[tuple[int, float]], low: float, high: float, last: int) -> str:
    def place(epoch: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT) * (epoch - 1) / max(last - 1, 1)
        return f"{x:.1f} {HEIGHT - (HEIGHT - 6) * (value - low) / (high - low):.1f}"

    return "M" + "L".join(place(*point) for point in points)


def _axis(low: float, high: float, last: int) -> Markup:
    return Markup(
        '<path d="M{left} 4V{bottom}H{right}" fill="none" stroke="currentColor"/>'
        '<text x="0" y="12">{high}</text><text x="0" y="{bottom}">{low}</text>'
        '<text x="{left}" y="{below}">epoch 1</text>'
        '<text x="{right}" y="{below}" text-anchor="end">{last}</text>'
    ).format(
        left=LEFT, right=WIDTH, bottom=HEIGHT, below=HEIGHT + 16,
        low=f"{low:.4g}", high=f"{high:.4g}", last=last,
    )  # fmt: skip
