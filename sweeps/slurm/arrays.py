"""How runs become SLURM arrays: what shares a job, what waits for what, how many run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from suite.config import RunSpec

Item = TypeVar("Item")
Task = tuple[RunSpec, ...]
"""The runs of one job, one after the other."""


@dataclass(frozen=True)
class Array:
    """What one sbatch submits."""

    tasks: tuple[Task, ...]
    after: str | None = None  # the job that trains the teacher of all these runs; "1:2" of several


@dataclass(frozen=True)
class Lane:
    """Arrays that follow each other, at most ``limit`` of their jobs at the same time."""

    arrays: tuple[Array, ...]
    limit: int


def teacher_arrays(teachers: Sequence[RunSpec], max_size: int) -> list[Array]:
    """A job for each teacher, so that its students wait for it alone."""
    return [Array(tasks) for tasks in _pieces([(spec,) for spec in teachers], max_size)]


def student_arrays(
    students: Sequence[RunSpec],
    awaited: Callable[[RunSpec], str | None],
    runs_per_job: int,
    max_size: int,
) -> list[Array]:
    """Arrays of jobs with ``runs_per_job`` runs each; one teacher's failure stops its own alone.

    ``awaited`` tells the job that trains the teacher of a run, None if nothing needs awaiting.
    """
    groups: dict[str | None, list[RunSpec]] = {}
    for spec in students:
        groups.setdefault(awaited(spec), []).append(spec)
    return [
        Array(tasks, after)
        for after, runs in groups.items()
        for tasks in _pieces(_pieces(runs, runs_per_job), max_size)
    ]


def lanes(arrays: Sequence[Array], max_jobs: int) -> list[Lane]:
    """Share ``max_jobs`` among the arrays by their size; what is too many for that is queued."""
    if not arrays:
        return []
    filled: list[list[Array]] = [[] for _ in range(min(len(arrays), max_jobs))]
    for array in sorted(arrays, key=lambda array: -len(array.tasks)):
        min(filled, key=_size).append(array)
    shares = _shares([_size(members) for members in filled], max_jobs)
    return [Lane(tuple(members), share) for members, share in zip(filled, shares, strict=True)]


def _size(arrays: Sequence[Array]) -> int:
    return sum(len(array.tasks) for array in arrays)


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """At least 1 each and ``total`` together, otherwise in proportion (largest remainder)."""
    spare = total - len(sizes)
    exact = [spare * size / sum(sizes) for size in sizes]
    shares = [1 + int(value) for value in exact]
    by_rest = sorted(range(len(sizes)), key=lambda i: int(exact[i]) - exact[i])
    for index in by_rest[: total - sum(shares)]:
        shares[index] += 1
    return shares


def _pieces(items: Sequence[Item], size: int) -> list[tuple[Item, ...]]:
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
