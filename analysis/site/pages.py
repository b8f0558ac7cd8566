"""The pages of a site, each made on its own: once by ``publish``, on demand by ``serve``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis import report
from analysis.feature_gap.gap import Gaps
from analysis.report.page import Frame, facts
from analysis.report.prose import paragraphs
from analysis.report.run_list import ListedRun, listed
from analysis.runs import cost as costs
from analysis.runs.collect import Collected
from analysis.runs.grid import ColumnKey, Grid, states_text
from analysis.runs.records import FINISHED, OPTION
from analysis.site.run_pages import RunPages
from analysis.site.templates import templates
from analysis.statistics import stats
from analysis.tables.gains import Gains, references

REFRESH_SECONDS = 15
"""Between two looks of a page at a sweep that runs."""


class MethodText(NamedTuple):
    """What a method says of itself."""

    paper: str
    formula: str
    """The text at the head of its file."""
    options: dict[str, str]
    """Name -> default."""


@dataclass(frozen=True)
class Site:
    """What is shown, and where each page lies below the site's folder."""

    collected: Collected
    describe: Callable[[str], MethodText | None]
    """The text of a method; None for one that is not installed here."""
    live: bool = False
    """Pages that are made anew while a sweep runs ask for themselves again."""
    progress: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def grid(self) -> Grid:
        """Methods x columns x seeds."""
        return Grid(self.collected)

    @cached_property
    def pairs(self) -> dict[ColumnKey, str]:
        """Column -> its page's folder."""
        names = [f"{key.dataset} {key.recipe} {key.pair}" for key in self.grid.columns]
        return dict(zip(self.grid.columns, _slugs("pairs", names), strict=True))

    @cached_property
    def methods(self) -> dict[str, str]:
        """Label -> its page."""
        pages = [f"{slug}.html" for slug in _slugs("methods", self.grid.labels)]
        return dict(zip(self.grid.labels, pages, strict=True))

    @cached_property
    def runs(self) -> dict[str, int]:
        """Run id -> its first row in ``collected.runs``."""
        unique = self.collected.runs.drop_duplicates("run_id")
        return dict(zip(unique["run_id"], unique.index, strict=True))

    def frame(self, root: str) -> Frame:
        """Menu and files of a page from which ``root`` leads to the site's folder."""
        pairs = [(self.pair_name(key), f"{root}{it}/index.html") for key, it in self.pairs.items()]
        menu = [("Overview", f"{root}index.html"), *pairs, ("Runs", f"{root}runs.html")]
        return Frame(root, menu, REFRESH_SECONDS if self.live else 0)

    @cached_property
    def _pair_names(self) -> dict[ColumnKey, str]:
        return {key: f"{key.dataset}: {self.grid.networks(key)}" for key in self.grid.columns}

    def pair_name(self, key: ColumnKey) -> str:
        """``digits: cifar_resnet20 → cifar_resnet8``"""
        return self._pair_names[key]

    def of_pair(self, key: ColumnKey) -> Collected:
        """The runs of one column, and its teachers."""
        found = self.grid.collected_of(key)
        return replace(found, experiment=self.pair_name(key), note="")

    def pair_page(self, key: ColumnKey, out: Path, gaps: Gaps) -> Callable[[], report.Report]:
        """What writes the report of one column as a page of the site; ``gaps`` of its runs.

        It knows the runs of that column alone and can be sent to a process.
        """
        return partial(
            report.write,
            self.of_pair(key),
            out / self.pairs[key],
            frame=self.frame("../../"),
            gaps=gaps,
        )

    def overview(self, tables: list[dict[str, object]], pictures: list[dict[str, object]]) -> str:
        """The first page: progress, ranking, and the way to everything else."""
        counts = self.collected.runs.drop_duplicates("run_id")["state"].value_counts()
        return self._render(
            "overview.html.jinja",
            self.collected.experiment,
            "",
            note=paragraphs(self.collected.note),
            command=self.collected.command,
            states=states_text({str(state): int(n) for state, n in counts.items()}),
            pairs=[(self.pair_name(key), place) for key, place in self.pairs.items()],
            methods=[(it, self.grid.method(it), page) for it, page in self.methods.items()],
            tables=tables,
            pictures=pictures,
            failed=[run for run in self.listed if run.state not in (FINISHED, "missing")],
            facts=facts(self.collected),
            progress=self.progress,
        )

    def all_runs(self) -> str:
        """Every run in one table."""
        return self._render("runs.html.jinja", "Runs", "", runs=self.listed)

    def method(self, label: str) -> str:
        """Formula, paper, options, results, cost, and where the method gains."""
        name = self.grid.method(label)
        runs = self.grid.students[self.grid.students["label"] == label]
        return self._render(
            "method.html.jinja",
            label,
            "../",
            parts_of_method=[(part, self.describe(part)) for part in name.split("+")],
            references=[it for it in references(self.grid) if it != label],
            results=list(self._results(label)),
            set_options=_options(runs),
            runs=listed(runs, self.collected, Path()),
        )

    def _results(self, label: str) -> Iterator[dict[str, Any]]:
        for key, place in self.pairs.items():
            cell = self.grid.cell(label, key)
            if not cell.expected:
                continue
            gains = self._gains[key]
            runs = self.grid.runs(label, key)
            training = costs.of_cell(runs[runs["state"] == FINISHED])
            yield {
                "pair": self.pair_name(key),
                "page": place,
                "accuracy": stats.mean(cell.scores),
                "sd": stats.sd(cell.scores),
                "runs": f"{cell.n}/{cell.expected}",
                "gains": {it: gains.cell(label, it).text for it in gains.references},
                "seconds": training.seconds,
                "shared": training.shared,
            }

    @cached_property
    def _gains(self) -> dict[ColumnKey, Gains]:
        """Column -> the gains of the accuracy table on its page."""
        return {key: Gains(Grid(self.of_pair(key))) for key in self.pairs}

    def run(self, run_id: str) -> str:
        """The page of a run, see :meth:`analysis.site.run_pages.RunPages.page`."""
        row = self.collected.runs.loc[[self.runs[run_id]]]
        (shown,) = listed(row, self.collected, Path())
        return self.run_pages.page(shown)

    @cached_property
    def run_pages(self) -> RunPages:
        """What makes the pages of runs, without the runs of others."""
        collected = self.collected
        return RunPages(collected.runs_root, collected.rows_of, self.methods, self.frame("../"))

    @cached_property
    def listed(self) -> list[ListedRun]:
        """Every run once."""
        unique = self.collected.runs.loc[list(self.runs.values())]
        return listed(unique, self.collected, Path())

    def _render(self, template: str, title: str, root: str, **content: Any) -> str:
        page = templates().get_template(template)
        return page.render(title=title, frame=self.frame(root), **content)


def _options(runs: pd.DataFrame) -> dict[str, str]:
    """Options that the configuration of runs sets; several values where they differ."""
    columns = [str(name) for name in runs if str(name).startswith(OPTION)]
    known = {name: runs[name].dropna().map(_plain).unique() for name in columns}
    return {
        name.removeprefix(OPTION): ", ".join(sorted(values))
        for name, values in known.items()
        if len(values)
    }


def _plain(value: object) -> str:
    """As YAML has it: numbers of a column with holes are floats, and 5 steps are not 5.0."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, int | float) else str(value)


def _slugs(folder: str, names: list[str]) -> list[str]:
    """A place for each name, readable and the same every time; equal ones get a number."""
    made: list[str] = []
    for name in names:
        plain = f"{folder}/{re.sub(r'[^A-Za-z0-9_+.-]+', '-', name).strip('-.') or 'unnamed'}"
        count = sum(place == plain or place.startswith(f"{plain}~") for place in made)
        made.append(f"{plain}~{count + 1}" if count else plain)
    return made
