"""What a method asks of its progress, so that a recorded step is replayed only while it holds."""

from __future__ import annotations

from collections.abc import Hashable, Set
from typing import Any

from suite.interface.distiller import Progress

Question = tuple[Any, ...]
"""An attribute of :class:`Progress` and, where it is a function, its arguments."""
CHANGING = ("epoch", "step")
"""The fields that change while a run trains."""
STEP: Question = ("step",)


class WatchedProgress(Progress):
    """Leaves in ``asked`` what it is asked: fields that change, and warm-up factors."""

    def __init__(self, plain: Progress, asked: set[Question]) -> None:
        super().__init__(**vars(plain))
        object.__setattr__(self, "_plain", plain)
        object.__setattr__(self, "_asked", asked)

    def __getattribute__(self, name: str) -> Any:
        if name in CHANGING:
            super().__getattribute__("_asked").add((name,))
        return super().__getattribute__(name)

    def warmup(self, epochs: int) -> float:
        """The factor; who asks for it has not seen the epoch."""
        super().__getattribute__("_asked").add(("warmup", epochs))
        plain: Progress = super().__getattribute__("_plain")
        return plain.warmup(epochs)


def answers(progress: Progress, asked: Set[Question]) -> Hashable:
    """What ``progress`` says to all questions: while it is the same, a method sees no change."""

    def answer(name: str, *arguments: Any) -> Any:
        value = getattr(progress, name)
        return value(*arguments) if arguments else value

    return frozenset((question, answer(*question)) for question in asked)
