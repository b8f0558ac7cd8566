"""Which pictures a report holds: a name, a caption and what draws it, or nothing if data lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.feature_gap.embed import pca_plane, tsne
from analysis.feature_gap.feature_files import DRAWN, UnusableError, sources
from analysis.feature_gap.features import Array, angles
from analysis.feature_gap.gap import OVER_EPOCHS, Gaps, View, trajectory_distances
from analysis.feature_gap.gap import views as views_of
from analysis.plots.cost import cost_figure
from analysis.plots.curves import curves_figure
from analysis.plots.densities import Ridge, centred_norms, densities_figure
from analysis.plots.embedding import CLASSES, Cloud, embedding_figure
from analysis.plots.gaps import gap_accuracy_figure, gap_epochs_figure, gaps_figure
from analysis.plots.ranks import rank_figure
from analysis.plots.sensitivity import sensitivity_figure
from analysis.plots.style import DENOISED, STUDENT, TEACHER, colours, markers, titled
from analysis.plots.trajectory import health_figure, trajectory_figure
from analysis.report.picture import Picture
from analysis.runs import variants
from analysis.runs.collect import Collected, epochs
from analysis.runs.grid import ColumnKey, Grid
from analysis.runs.records import FINISHED
from analysis.statistics import stats
from analysis.tables.cost import SHARED_TIME, trained_together

CURVES = 600
"""Metrics are read for at most so many runs of a column."""
PANELS = 12
"""Embeddings and densities show at most so many methods: the first of the experiment."""
RANKED = 24
"""Methods in a critical-difference diagram at most."""
PER_METHOD = ("embedding", "tsne", "densities", "trajectory")
"""What shows them."""
TSNE_SEED = 0


CAPTIONS = {
    "curves": "accuracy over training, mean over finished runs; bands are ± one standard "
    "deviation, the dashed line is the teacher.",
    "cost": "accuracy against the time that one student takes to train. Large marks are means of a "
    "method, small ones single runs.",
    "sensitivity": "accuracy over two options of a method, mean ± standard deviation; bold: best.",
    "gap": "distance between student and teacher features on held-out images. Large marks are "
    "means, ticks single runs (no ends of intervals); 95 % intervals: broad over runs, thin over "
    "images, cut where they reach beyond the panel.",
    "gap-epochs": "the gap over training: mean over the first runs of a method, the band is their "
    "range; lower is closer but for CKA. Held-out images.",
    "gap-accuracy": "does closing the gap buy accuracy? Large marks are means of a method, small "
    "ones single runs; ρ is Spearman's rank correlation of the means.",
    "embedding": "held-out images in the plane of the teacher's two principal axes; the student's "
    "features reach it through the best linear map from training images. Numbers are the teacher's "
    f"means of the first classes, {CLASSES} at most; lines lead to the student's. First seed.",
    "tsne": "joint t-SNE of teacher and student features of held-out images (the student's through "
    "the best linear map from training images), one embedding for all methods. First seed.",
    "densities": "angle to the teacher's feature of the same image, and norm of the centred "
    "feature; the small tick is the median. Held-out images, first seed.",
    "trajectory": "the feature while it is denoised: probability that the teacher's head gives "
    "the label (mean over held-out images, the band holds the middle half of them), and Fréchet "
    "distance to the teacher's features over their total variance. First seed.",
    "health": "what methods log of themselves in training; `diagnostics` in a method's file says "
    "what each figure is. Mean over runs, the band is their range.",
}


class Pictures:
    """Pictures of an experiment, one set per column of the accuracy table."""

    def __init__(self, grid: Grid, gaps: Gaps, *, with_tsne: bool = False) -> None:
        self.grid = grid
        self.gaps = gaps
        self.with_tsne = with_tsne
        self.colours = colours(grid.labels)
        self.markers = markers(grid.labels)
        self._known_metrics: dict[ColumnKey, pd.DataFrame] = {}  # of one column at a time
        self._known_views: dict[ColumnKey, dict[str, dict[str, View]]] = {}

    def of_column(self, number: int) -> Iterator[Picture]:
        """The pictures of one column of the accuracy table."""
        key, name = self.grid.columns[number], self.grid.column_names()[number]
        networks = self.grid.networks(key)
        name = name if name == networks else f"{networks} ({name})"
        suffix = f"-{number + 1}" if len(self.grid.columns) > 1 else ""
        for stem, caption in CAPTIONS.items():
            draw = partial(getattr(self, stem.replace("-", "_")), key)
            whole = " ".join([f"{name}: {caption}", *self._remarks(stem, key)])
            yield Picture(f"{stem}{suffix}", whole, draw, key.pair)

    def _remarks(self, stem: str, key: ColumnKey) -> Iterator[str]:
        """What a caption must add for these runs."""
        if stem == "cost" and trained_together(self._finished(key)) != "1":
            yield SHARED_TIME
        left_out = self.grid.labels[PANELS:]
        if stem in PER_METHOD and left_out:
            yield f"Not drawn, beyond {PANELS} methods: {', '.join(left_out)}."

    def of_all(self) -> Iterator[Picture]:
        """The pictures that take all columns together."""
        yield Picture(
            "ranks",
            "Average rank over pairs and seeds (1 is best); a bar joins methods whose ranks differ "
            "by less than the critical difference (Nemenyi, 5 %). Seeds of a pair with a "
            "hole, and methods without a result, are left out.",
            self.ranks,
        )

    @property
    def collected(self) -> Collected:
        """The experiment."""
        return self.grid.collected

    def curves(self, key: ColumnKey) -> Figure | None:
        """Accuracy over epochs."""
        metric = self.grid.figure_of(key).split("/", 1)[1]
        table = self._metrics(key)
        if metric not in table or table.groupby("run_id")[metric].count().max() < 2:
            return None
        teacher = self.grid.teacher_accuracy(key)
        split = "test" if metric.startswith("test/") else "validation"
        return curves_figure(
            table.dropna(subset=[metric]),
            metric,
            titled(f"{self.grid.networks(key)}: {split} accuracy"),
            [label for label in self.grid.labels if label in set(table["label"])],
            self.colours,
            stats.mean(teacher) if len(teacher) else None,
            self._names(key, table.groupby("label")["run_id"].nunique()),
        )

    def _names(self, key: ColumnKey, drawn: pd.Series) -> dict[str, str]:
        """``kd (2/3)`` where fewer runs than expected are drawn."""
        expected = {str(label): self.grid.cell(str(label), key).expected for label in drawn.index}
        return {
            label: f"{label} ({drawn[label]}/{n})"
            for label, n in expected.items()
            if drawn[label] < n
        }

    def cost(self, key: ColumnKey) -> Figure | None:
        """Accuracy against training time."""
        runs = self._with_accuracy(self._finished(key))
        if "train_seconds" not in runs:
            return None
        runs = runs[(runs["train_seconds"] > 0) & runs["accuracy"].notna()]
        if runs["label"].nunique() < 2:
            return None
        return cost_figure(runs, titled(self.grid.networks(key)), self.colours, self.markers)

    def sensitivity(self, key: ColumnKey) -> Figure | None:
        """Accuracy over two options of one method."""
        runs = self.grid.students[self.grid.students["column"] == key]
        if self._finished(key).empty:
            return None
        for method in dict.fromkeys(runs["method"]):
            own = runs[runs["method"] == method]
            options = variants.grid_options(own)
            if options is not None:
                own = self._with_accuracy(own)
                return sensitivity_figure(
                    own, *options, titled(f"{method}, {self.grid.networks(key)}")
                )
        return None

    def gap(self, key: ColumnKey) -> Figure | None:
        """Gap metrics per method."""
        frame = _of_key(self.gaps.runs, key)
        return None if frame.empty else gaps_figure(frame, self.grid.labels)

    def gap_epochs(self, key: ColumnKey) -> Figure | None:
        """Gap metrics over training."""
        frame = _of_key(self.gaps.epochs, key)
        if frame.empty or frame["epoch"].nunique() < 2:
            return None
        return gap_epochs_figure(frame, OVER_EPOCHS, self.colours)

    def gap_accuracy(self, key: ColumnKey) -> Figure | None:
        """Gap metrics of the student's features against its accuracy."""
        frame = _of_key(self.gaps.runs, key)
        if frame.empty:
            return None
        runs = self._with_accuracy(self._finished(key))[["run_id", "label", "accuracy"]]
        points = frame[frame["view"] == "student"].merge(runs.dropna(), on=["run_id", "label"])
        if points["label"].nunique() < 3:
            return None
        return gap_accuracy_figure(points, self.colours, self.markers)

    def embedding(self, key: ColumnKey) -> Figure | None:
        """The plane of the first teacher's features; one finished run per method."""
        found = self._views(key)
        if not found:
            return None
        plane = pca_plane(next(iter(found.values()))["student"].teacher)
        clouds = {label: _cloud(views, plane) for label, views in found.items()}
        names = [
            f"teacher's principal axis {i + 1} ({share:.0%} of its variance)"
            for i, share in enumerate(plane.explained)
        ]
        return embedding_figure(clouds, names)

    def tsne(self, key: ColumnKey) -> Figure | None:
        """One joint t-SNE of the teacher and all students."""
        found = self._views(key) if self.with_tsne else {}
        if not found:
            return None
        groups = {"teacher": next(iter(found.values()))["student"].teacher}
        for label, views in found.items():
            groups |= {f"{label} {name}": view.mapped for name, view in views.items()}
        placed = tsne(groups, TSNE_SEED)
        clouds = {
            label: Cloud(
                placed["teacher"],
                placed[f"{label} student"],
                views["student"].label.astype(int),
                placed.get(f"{label} denoised"),
            )
            for label, views in found.items()
        }
        return embedding_figure(clouds, ["t-SNE axis 1", "t-SNE axis 2"])

    def densities(self, key: ColumnKey) -> Figure | None:
        """Angles and norms of single images."""
        found = self._views(key)
        if not found:
            return None
        turned: list[Ridge] = []
        sizes: list[Ridge] = []
        for label, views in found.items():
            teacher = views["student"].teacher
            centred = teacher - teacher.mean(axis=0)
            for name, colour in (("student", STUDENT), ("denoised", DENOISED)):
                if name in views:
                    mapped = views[name].mapped
                    turned.append(Ridge(label, angles(mapped - mapped.mean(0), centred), colour))
                    norms = centred_norms({"teacher": teacher, name: mapped})
                    sizes.append(Ridge(label, norms[name], colour))
                    sizes += [Ridge(label, norms["teacher"], TEACHER)] * (name == "student")
        return densities_figure(turned, sizes, list(found))

    def trajectory(self, key: ColumnKey) -> Figure | None:
        """Teacher-head probability of the label over sampling steps."""
        surprise: dict[str, Array] = {}
        distances: dict[str, Array] = {}
        for label, arrays in self._first_features(key):
            if arrays.get("heldout/inspect/trajectory_nll", np.empty(0)).ndim == 2:
                surprise[label] = arrays["heldout/inspect/trajectory_nll"]
                found = trajectory_distances(arrays)
                distances |= {} if found is None else {label: found}
        if not surprise:
            return None
        return trajectory_figure(surprise, distances, self.grid.networks(key), self.colours)

    def health(self, key: ColumnKey) -> Figure | None:
        """Diagnostics over epochs."""
        table = self._metrics(key)
        names = [str(n) for n in table if str(n).startswith("diagnostics/")]
        if not names or table["epoch"].nunique() < 2:
            return None
        return health_figure(table.dropna(subset=names, how="all"), names, self.colours)

    def ranks(self) -> Figure | None:
        """Critical-difference diagram over all columns and seeds."""
        scores = {label: self.grid.array(label).ravel() for label in self.grid.labels}
        there = [label for label, values in scores.items() if len(stats.present(values))]
        if not 3 <= len(there) <= RANKED:
            return None
        ranks = stats.average_ranks(np.stack([scores[label] for label in there], axis=1))
        return None if ranks.blocks < 2 else rank_figure(ranks, there, self.colours)

    def _finished(self, key: ColumnKey) -> pd.DataFrame:
        students = self.grid.students
        return students[(students["column"] == key) & (students["state"] == FINISHED)]

    def _with_accuracy(self, runs: pd.DataFrame) -> pd.DataFrame:
        """``runs`` of one column with what is reported of them as ``accuracy``, NaN if unknown."""
        if runs.empty:
            return runs.assign(accuracy=np.empty(0))
        name = self.grid.figure_of(runs["column"].iloc[0])
        known = runs[name].where(runs["state"] == FINISHED) if name in runs else np.nan
        return runs.assign(accuracy=known)

    def _metrics(self, key: ColumnKey) -> pd.DataFrame:
        """Accuracy and diagnostics over epochs: of finished runs, or of all while none is."""
        if key not in self._known_metrics:
            self._known_metrics = {key: self._read_metrics(key)}
        return self._known_metrics[key]

    def _read_metrics(self, key: ColumnKey) -> pd.DataFrame:
        shown = self.grid.figure_of(key).split("/", 1)[1]
        runs = self._finished(key)
        if runs.empty:
            runs = self.grid.students[self.grid.students["column"] == key]
        runs = runs.head(CURVES)
        table = epochs(
            self.collected, runs, lambda name: name == shown or name.startswith("diagnostics/")
        )
        return table.merge(runs[["run_id", "label", "seed"]], on="run_id")

    def _first_features(self, key: ColumnKey) -> Iterator[tuple[str, dict[str, Array]]]:
        runs = self._finished(key).sort_values("seed", kind="stable")
        where = dict(zip(runs.index, sources(runs), strict=True))
        for label in self.grid.labels[:PANELS]:
            for index in runs.index[runs["label"] == label][:1]:
                with suppress(UnusableError):
                    yield label, where[index].read(self.collected.runs_root, DRAWN)

    def _views(self, key: ColumnKey) -> dict[str, dict[str, View]]:
        """Label -> view name -> view, of the first seed."""
        if key not in self._known_views:
            found = {
                label: {view.name: view for view in views_of(arrays)}
                for label, arrays in self._first_features(key)
            }
            complete = {label: views for label, views in found.items() if "student" in views}
            self._known_views = {key: complete}  # one column at a time: they can be large
        return self._known_views[key]


def _of_key(frame: pd.DataFrame, key: ColumnKey) -> pd.DataFrame:
    chosen = np.ones(len(frame), dtype=bool)
    for name, value in key._asdict().items() if len(frame) else ():
        chosen &= (frame[name] == value).to_numpy()
    return frame[chosen]


def _cloud(views: dict[str, View], place: Callable[[Array], Array]) -> Cloud:
    view, denoised = views["student"], views.get("denoised")
    return Cloud(
        place(view.teacher),
        place(view.mapped),
        view.label.astype(int),
        None if denoised is None else place(denoised.mapped),
    )
