"""What makes a run give the same bits again, how far it does, and what its record says of that.

On a CPU all that runs here is deterministic for the same number of threads. On a GPU it is where
deterministic kernels are enforced and every operation has one; the record says which had none.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from suite.config import Determinism, Precision
from suite.interface.errors import UserError

log = logging.getLogger(__name__)
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
CUBLAS_WORKSPACE = ":4096:8"
"""One of the two settings with which cuBLAS is deterministic, by NVIDIA's documentation."""
_OPERATION = re.compile(r"^(\S+) does not have a deterministic implementation")
_ATTENTION = re.compile(r"^(.+ [Aa]ttention) defaults to a non-deterministic algorithm")
_CUBLAS = re.compile(r"not deterministic because it uses CuBLAS")
_seen: set[str] = set()


def enforce(wanted: Determinism, precision: Precision) -> None:
    """Set this process up; must come before CUDA starts.

    Where an operation has no deterministic kernel torch warns, or raises if they are required: see
    :func:`explained`. float32 is float32 on a GPU, too (torch's default takes TF32 for
    convolutions), unless TF32 is asked for.
    """
    deterministic = wanted != "off"
    if deterministic:
        os.environ.setdefault(CUBLAS, CUBLAS_WORKSPACE)
    torch.use_deterministic_algorithms(deterministic, warn_only=wanted != "require")
    # Deterministic mode would also fill every new tensor, a tenth of a step; none is read unwritten
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False  # would choose kernels by the clock
    # The older of torch's two ways: Lightning reads them, and torch 2.6 has no other
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


@contextmanager
def watch() -> Iterator[None]:
    """Within it, operations without a deterministic kernel are noted, see :func:`seen`.

    torch says so by warnings, some of them once in a process: here each comes, and is logged once.
    """
    once, show = torch.is_warn_always_enabled(), warnings.showwarning
    torch.set_warn_always(True)

    def note(message: Warning | str, *rest: Any, **options: Any) -> None:
        operation = operation_in(str(message))
        if operation is None:
            show(message, *rest, **options)
        elif operation not in _seen:
            _seen.add(operation)
            log.warning("%s has no deterministic kernel here: not the same bits again", operation)

    _seen.clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=r".*[dD]eterministic", category=UserWarning)
        warnings.showwarning = note
        try:
            yield
        finally:
            torch.set_warn_always(once)


def operation_in(warning: str) -> str | None:
    """The operation that a warning says to be not deterministic, None for other warnings."""
    if _CUBLAS.search(warning):
        return "cublas"
    found = _OPERATION.match(warning) or _ATTENTION.match(warning)
    return found[1] if found else None


def explained(error: Exception) -> Exception:
    """What to tell of an error: torch's refusal in one line with the cure, others as they are."""
    operation = operation_in(str(error)) if isinstance(error, RuntimeError) else None
    if operation is None:
        return error
    return UserError(
        f"--deterministic require: {operation} has no deterministic kernel on this device; "
        "allowed: prefer (trains, and the record does not claim the same bits), off"
    )


def seen() -> list[str]:
    """Operations without a deterministic kernel since :func:`watch` began."""
    return sorted(_seen)


def record(operations: Sequence[str], device_kinds: Sequence[str]) -> dict[str, Any]:
    """For a run's provenance.

    ``deterministic`` says that the same run gives the same bits again on the same machine:
    deterministic kernels were enforced, all ``operations`` had one, and the run did not move from
    one kind of device to another on its way. ``nondeterministic_kernels`` says what became of an
    operation without one: ``refused``, ``noted`` or ``taken``.
    """
    enforced = torch.are_deterministic_algorithms_enabled()
    refused = enforced and not torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn
    return {
        "deterministic": enforced and not operations and len(set(device_kinds)) <= 1,
        "deterministic_kernels_enforced": enforced,
        "nondeterministic_kernels": "refused" if refused else "noted" if enforced else "taken",
        "nondeterministic_ops": sorted(operations),
        "device_kinds": list(device_kinds),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "convolution": cudnn.allow_tf32},
        "cudnn": {
            "version": cudnn.version(),  # type: ignore[no-untyped-call]
            "deterministic": cudnn.deterministic,
            "benchmark": cudnn.benchmark,
        },
        "cublas_workspace": os.environ.get(CUBLAS),
    }
