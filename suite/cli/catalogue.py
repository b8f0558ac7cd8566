"""What every method reads and costs, measured by building it on one pair."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch

from suite import methods
from suite.config import DOT_NAME, ModelConfig
from suite.interface.distiller import Batch, Distiller, Setup, UnsupportedPair
from suite.interface.paper import Paper
from suite.interface.rng import Draws, generator, seeded_globals
from suite.interface.taps import Outputs, TappedModel
from suite.models import BareTask, count_parameters, create
from suite.train.optimization.dot import PAPER as DOT_PAPER

STUDENT, TEACHER = "cifar_wrn_40_1", "cifar_wrn_40_2"  # CRD's Table 1; feature widths 64 and 128
CLASSES, TRAIN_IMAGES, IMAGE = 100, 50_000, (3, 32, 32)


@dataclass(frozen=True)
class Entry:
    """One method on the pair :data:`TEACHER` to :data:`STUDENT`."""

    name: str
    paper: str
    needs: str
    """Which outputs of the two networks it reads."""
    train_parameters: int
    """Trained beside the student and then dropped or kept."""
    deploy_parameters: int
    """That the deployed network has more than the plain student."""
    memory: int
    """Bytes that it keeps for :data:`TRAIN_IMAGES` training images."""
    options: str


def catalogue(names: Sequence[str] | None = None) -> Iterator[Entry]:
    """The methods called ``names``, all when None."""
    task = BareTask(CLASSES, IMAGE)
    networks = {name: create(ModelConfig(name=name), task) for name in (STUDENT, TEACHER)}
    for name in methods.names() if names is None else names:
        yield _entry(name, networks[STUDENT], networks[TEACHER])


def bibliography(names: Sequence[str] | None = None) -> str:
    """The papers of the methods called ``names``, of all and of DOT when None, as BibTeX.

    An entry's key is the method's name; methods of one paper share the first one's.
    """
    wanted = methods.names() if names is None else names
    keys = _keys(wanted)
    if names is None:
        keys[DOT_PAPER] = DOT_NAME
    return "\n\n".join(paper.bibtex(key) for paper, key in sorted(keys.items(), key=itemgetter(1)))


def citations(names: Collection[str]) -> dict[str, str]:
    """Method -> the BibTeX of its papers; methods of one paper share the first one's key."""
    keys = _keys(sorted(names))
    return {
        name: "\n\n".join(paper.bibtex(keys[paper]) for paper in methods.papers(name).values())
        for name in names
    }


def _keys(names: Iterable[str]) -> dict[Paper, str]:
    """Paper -> its BibTeX key, the first method of it."""
    keys: dict[Paper, str] = {}
    for name in names:
        for key, paper in methods.papers(name).items():
            keys.setdefault(paper, key)
    return keys


def _entry(name: str, student: TappedModel, teacher: TappedModel) -> Entry:
    method = methods.find(name)
    config = method.Config()
    paper = "; ".join(map(str, methods.papers(name).values())) or "no distillation"
    options = ", ".join(f"{key}={value}" for key, value in config.model_dump(mode="json").items())
    try:
        with seeded_globals(0, "catalogue"):
            built = method(config, _setup(student, teacher if method.uses_teacher else None))
    except UnsupportedPair as reason:
        return Entry(name, paper, str(reason), 0, 0, 0, options)
    shipped = count_parameters(built.deploy(student))
    return Entry(
        name=name,
        paper=paper,
        needs=_needs(built),
        train_parameters=count_parameters(built),
        deploy_parameters=shipped - count_parameters(student),
        memory=method.memory(config, TRAIN_IMAGES),
        options=options,
    )


def _needs(method: Distiller) -> str:
    if not method.uses_teacher:
        return "no teacher"
    reads = {"teacher": method.teacher_taps(), "student": method.student_taps()}
    outputs = [
        f"{who}: {', '.join(['logits', *(tap for tap in taps if tap != 'logits')])}"
        for who, taps in reads.items()
    ]
    views = [f"further views: {', '.join(method.views())}"] if method.views() else []
    return "; ".join(outputs + views)


def _setup(student: TappedModel, teacher: TappedModel | None) -> Setup:
    labels = torch.arange(TRAIN_IMAGES) % CLASSES

    def teacher_pass(taps: Sequence[str]) -> Iterator[tuple[Batch, Outputs]]:
        if teacher is not None:
            index = torch.arange(2 * CLASSES)  # two images of every class, all alike
            image = torch.zeros(1, *IMAGE)
            with torch.no_grad():
                of_image = teacher(image, taps)
            repeated = {tap: _times(of_image[tap], index) for tap in taps}
            outputs = Outputs(_times(of_image.logits, index), repeated)
            yield Batch(_times(image, index), labels[index], index), outputs

    return Setup(
        student=student,
        teacher=teacher,
        num_classes=CLASSES,
        train_labels=labels,
        epochs=1,
        steps_per_epoch=1,
        device=torch.device("cpu"),
        draws=Draws(generator(0, "catalogue")),
        gather=lambda tensor: tensor,
        teacher_pass=teacher_pass,
    )


def _times(rows: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """One row [1, ...] -> [len(index), ...]."""
    return rows.expand(len(index), *rows.shape[1:])
