"""What a method reads of its teacher must be what the teacher gives."""

from __future__ import annotations

from suite import methods
from suite.config import RunConfig
from suite.interface.distiller import Reads, UnsupportedPair


def require(config: RunConfig) -> None:
    """Raise :class:`UnsupportedPair` when the method reads what its teacher does not give."""
    teacher = config.teacher
    if teacher is None:
        return
    method = methods.find(config.method.name)
    reads = method.reads_with(method.Config.model_validate(config.method.options))
    if Reads.LOGITS in reads and not teacher.gives_logits:
        raise UnsupportedPair(
            f"method {config.method.name} reads the logits of its teacher or its classifier, and "
            f"{teacher.name} has none (options.num_classes 0); with their default options these "
            f"methods need none: {', '.join(_without(Reads.LOGITS))}"
        )
    if Reads.FEATURES in reads and teacher.ensemble:
        raise UnsupportedPair(
            f"method {config.method.name} reads features of its teacher, and the ensemble "
            f"{teacher.name} gives the mean of the logits alone; with their default options these "
            f"methods read no more: {', '.join(_without(Reads.FEATURES))}"
        )


def _without(reading: Reads) -> list[str]:
    """The methods that have a teacher and do not read that of it."""
    found = {name: methods.find(name) for name in methods.names()}
    return [
        name
        for name, method in found.items()
        if method.uses_teacher and reading not in method.reads_with(method.Config())
    ]
