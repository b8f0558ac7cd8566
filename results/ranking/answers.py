"""Answer the questions of docs/ranking_protocol.md from all confirmatory runs, or not at all.

Each report is a folder that ``dskd-bench report`` made; in ``--gaps`` are their ``features.csv``:

    python results/ranking/answers.py SAME CROSS READING --gaps GAPS --out results/ranking/answers
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.feature_gap.metrics import METRICS
from analysis.feature_gap.views import STUDENT
from analysis.plots.style import FULL_INCHES, legend, paper_style, save
from analysis.statistics.design import Design
from analysis.statistics.differences import Scope, compare
from analysis.statistics.stats import holm, rank_correlation, t_interval

BLOCKS = 4
STUDENTS = {"first pair": 500, "second pair": 500, "question 2": 400}
ACCURACY = "last/test/top1_percent"
EQUIVALENT_POINTS = 1.0
BOTH = "both pairs"


def main() -> None:
    """Write question1.csv, question2.csv, question3.csv and two figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("same", "cross", "reading"):
        parser.add_argument(name, type=Path, help="folder of a report")
    parser.add_argument("--gaps", type=Path, required=True, help="folder of NAME.csv.gz")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    folders = dict(zip(STUDENTS, (asked.same, asked.cross, asked.reading), strict=True))
    runs = {name: students(folder / "runs.csv", name) for name, folder in folders.items()}
    first, second, reading = runs.values()
    gaps = pd.concat(map(pd.read_csv, sorted(asked.gaps.glob("*.csv.gz"))), ignore_index=True)

    asked.out.mkdir(parents=True, exist_ok=True)
    ranking = question1(first, second)
    ranking.to_csv(asked.out / "question1.csv", index=False)
    question2(reading).to_csv(asked.out / "question2.csv", index=False)
    cells = correlations(pd.concat([first, second]), gaps)
    question3(cells).to_csv(asked.out / "question3.csv", index=False)
    with paper_style():
        for name, figure in (("ranking", draw_ranking(ranking)), ("gap", draw_gap(cells))):
            save(figure, asked.out / name)


def students(path: Path, name: str) -> pd.DataFrame:
    """The finished students of one report, as the model of differences wants them.

    ``pair`` is the block: blocks are the sample, and what a row gains is averaged over the pairs of
    networks within a block. Raises :class:`SystemExit` unless all runs of the protocol are there.
    """
    runs = pd.read_csv(path, low_memory=False)
    runs = runs[(runs["role"] == "student") & (runs["state"] == "finished")]
    if len(runs) != STUDENTS[name]:
        raise SystemExit(f"{path}: {len(runs)} of {STUDENTS[name]} students: nothing is answered")
    return pd.DataFrame(
        {
            "networks": name,
            "method": runs["label"],
            "taught": runs["teacher_run_id"].notna(),
            "pair": runs["pair"].str.extract(r"(block\d)")[0],
            "teacher": runs["teacher_run_id"],
            "seed": runs["seed"],
            "run": runs["run_id"],
            "score": runs[ACCURACY],
        }
    )


def design(runs: pd.DataFrame) -> Design:
    """Runs without a teacher stand beside every teacher of their networks and block."""
    beside = ["networks", "pair"]
    teachers = runs.loc[runs["taught"], [*beside, "teacher"]].drop_duplicates()
    untaught = runs[~runs["taught"]].drop(columns="teacher").merge(teachers, on=beside)
    made = Design.complete(pd.concat([runs[runs["taught"]], untaught], ignore_index=True))
    if len(made.methods) != runs["method"].nunique() or made.pair_of_unit.max() + 1 != BLOCKS:
        raise SystemExit("some row lacks a block or a teacher: nothing is answered")
    return made


def family(runs: pd.DataFrame, tests: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Differences over blocks and teachers: each interval alone, Holm's p over ``tests``."""
    found = compare(design(runs), Scope.PAIRS)
    half_widths, place = found.half_width(simultaneous=False), found.methods.index
    rows = []
    for method, reference in tests:
        cell = (place(method), place(reference))
        difference, half = found.difference[cell], half_widths[cell]
        rows.append(
            {
                "method": method,
                "against": reference,
                "points": difference,
                "low": difference - half,
                "high": difference + half,
                "degrees": found.degrees[cell],
                "p raw": found.p_alone(method, reference),
            }
        )
    table = pd.DataFrame(rows)
    table["p"] = holm(table["p raw"].tolist())
    table["equivalent"] = table[["low", "high"]].abs().max(axis=1) < EQUIVALENT_POINTS
    table.insert(2, "runs", len(runs))
    table["error pooled over rows"] = found.pooled
    return table


def question1(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """All rows against scratch, all others against KD: two families, for each pair and for both."""
    rows = list(first["method"].unique())
    others = [row for row in rows if row not in {"scratch", "kd"}]
    families = [
        [(row, "scratch") for row in rows if row != "scratch"],
        [(row, "kd") for row in others],
    ]
    sources = {"first pair": first, "second pair": second, BOTH: pd.concat([first, second])}
    return pd.concat(
        family(runs, tests).assign(networks=name)
        for name, runs in sources.items()
        for tests in families
    )


def question2(reading: pd.DataFrame) -> pd.DataFrame:
    """DSKD against KD, DKD, each control and longer KD: one family. DSKD + KD is beside it."""
    rows = [row for row in reading["method"].unique() if row not in {"dskd", "dskd+kd"}]
    asked = family(reading, [("dskd", row) for row in rows]).assign(family="question 2")
    beside = family(reading, [("dskd+kd", "kd"), ("dskd+kd", "dskd")]).assign(family="beside")
    return pd.concat([asked, beside])


def correlations(runs: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of closeness and accuracy, by metric, networks and block.

    ``between``: over the means of methods; ``within``: over the runs of one method under one
    teacher, mean over methods and teachers. Closeness is the metric, less where it is a distance,
    so that a positive rho says: the closer, the more accurate.
    """
    seen = gaps[gaps["view"] == STUDENT].drop_duplicates(["run_id", "metric"])
    here = runs.merge(seen[["run_id", "metric", "value"]], left_on="run", right_on="run_id")
    if here["run"].nunique() != runs["run"].nunique():
        raise SystemExit("some run has no gap: question 3 is not answered")
    signs = {name: 1 if it.higher_is_closer else -1 for name, it in METRICS.items()}
    here = here.assign(closeness=here["metric"].map(signs) * here["value"])
    rows = []
    for (metric, networks, block), cell in here.groupby(["metric", "networks", "pair"]):
        means = cell.groupby("method")[["closeness", "score"]].mean()
        alone = [_rho(some) for _, some in cell.groupby(["method", "teacher"], dropna=False)]
        rows.append((metric, networks, block, _rho(means), float(np.nanmean(alone))))
    return pd.DataFrame(rows, columns=["metric", "networks", "block", "between", "within"])


def _rho(points: pd.DataFrame) -> float:
    return rank_correlation(points["closeness"].to_numpy(), points["score"].to_numpy())[0]


def question3(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean correlations over blocks; 95 % intervals by every way to draw four of them, and by t.

    The bootstrap is the protocol's, but with four blocks it is too short; Student's t is not.
    """
    rows = []
    for metric, of_metric in cells.groupby("metric"):
        for kind in ("between", "within"):
            by_block = of_metric.groupby("block")[kind].mean().to_numpy()
            low, high = np.quantile(list(_resampled(by_block)), (0.025, 0.975))
            rows.append((metric, kind, by_block.mean(), low, high, *t_interval(by_block)))
    columns = ["metric", "kind", "rho", "low", "high", "t low", "t high"]
    return pd.DataFrame(rows, columns=columns)


def _resampled(values: np.ndarray) -> Iterator[float]:
    """The mean of every one of the 4^4 draws with replacement."""
    yield from (float(np.mean(draw)) for draw in product(values, repeat=len(values)))


def draw_ranking(ranking: pd.DataFrame) -> Figure:
    """Gains over scratch and over KD with 95 % intervals, rows by their gain over scratch."""
    both = ranking[ranking["networks"] == BOTH]
    order = both[both["against"] == "scratch"].sort_values("points")["method"].tolist()
    figure, panels = plt.subplots(1, 2, figsize=(FULL_INCHES, 2.9), sharey=True)
    for axes, reference in zip(panels, ("scratch", "kd"), strict=True):
        _forest(axes, ranking[ranking["against"] == reference], order)
        axes.set_xlabel(f"test accuracy over {reference} (points)")
    panels[0].set_yticks(range(len(order)), order)
    panels[1].axvspan(-EQUIVALENT_POINTS, EQUIVALENT_POINTS, color="0.9", zorder=0, lw=0)
    legend(figure, *panels[0].get_legend_handles_labels())
    return figure


def _forest(axes: Axes, rows: pd.DataFrame, order: list[str]) -> None:
    looks = {"first pair": ("o", "#56B4E9", 0.22), "second pair": ("s", "#E69F00", 0.0)}
    for networks, (marker, colour, shift) in {**looks, BOTH: ("D", "#000000", -0.22)}.items():
        some = rows[rows["networks"] == networks]
        places = [order.index(method) + shift for method in some["method"]]
        bars = [some["points"] - some["low"], some["high"] - some["points"]]
        look: dict[str, Any] = {"fmt": marker, "color": colour, "ms": 3, "lw": 0.9}
        axes.errorbar(some["points"], places, xerr=bars, label=networks, **look)
    axes.axvline(0, color="0.4", lw=0.6)
    axes.grid(axis="x")


def draw_gap(cells: pd.DataFrame) -> Figure:
    """Correlations of closeness and accuracy: a small mark a block and pair, a bar for the mean."""
    table = question3(cells)
    metrics = list(table["metric"].unique())
    figure, panels = plt.subplots(1, 2, figsize=(FULL_INCHES, 2.6), sharey=True)
    titles = {"between": "between methods", "within": "within a method, over seeds"}
    for axes, (kind, title) in zip(panels, titles.items(), strict=True):
        rows = table[table["kind"] == kind]
        bars = [rows["rho"] - rows["low"], rows["high"] - rows["rho"]]
        axes.errorbar(rows["rho"], range(len(metrics)), xerr=bars, fmt="D", color="k", ms=4)
        places = [metrics.index(metric) for metric in cells["metric"]]
        axes.scatter(cells[kind], places, s=9, alpha=0.5, color="#0072B2", lw=0)
        axes.axvline(0, color="0.4", lw=0.6)
        axes.set(title=title, xlabel="Spearman's ρ of closeness and accuracy")
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(metrics)), [METRICS[name].title for name in metrics])
    return figure


if __name__ == "__main__":
    main()
