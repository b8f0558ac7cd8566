"""A GPU that is not there: tensors of a device of its own, computed on the CPU by a GPU's rules.

Within :class:`AbsentGpu` the device ``absent`` takes tensors, networks and optimizers, forward and
backward, in float32. What code would do on a GPU and cannot be seen on a CPU is then seen: tensors
of two devices that meet, values that Python waits for, kernels that add up in no fixed order, and,
within what is recorded, whatever a CUDA graph forbids. The kernels that a GPU would launch are
counted.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, cast
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from suite.interface import kernels

Given = TypeVar("Given")
NAME = "absent"
ATEN = torch.ops.aten
INDEXED = {ATEN.index.Tensor, ATEN.index_put_.default}
BY_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""torch's own tags of what decides by values: ``item``, ``nonzero``, ``unique``."""


class Refused(RuntimeError):
    """What a GPU would refuse or wait for; the message names the line."""


@dataclass
class Work:
    """What a GPU was asked to do."""

    launches: int = 0
    """Kernels; the replay of a recording counts as one, outside of it."""
    moved: int = 0
    """Bytes that they read and write."""
    flops: int = 0
    """Of matrix products and convolutions, two for a multiplication and addition."""
    waits: int = 0
    """Values and tensors that were copied between host and device."""

    def __sub__(self, before: Work) -> Work:
        mine, theirs = vars(self), vars(before)
        return Work(**{name: mine[name] - theirs[name] for name in mine})


class Operation(NamedTuple):
    """One of torch's, as it was asked of a GPU."""

    name: str
    launches: int
    moved: int
    flops: int
    recorded: bool
    """Whether a replay launches its kernels."""


class AbsentTensor(Tensor):
    """A tensor of the device, and the one on the CPU that has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[Self], held: Tensor) -> Self:
        """With the shape, strides and type of ``held``."""
        make: Any = Tensor._make_wrapper_subclass
        made = make(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return cast(Self, made)

    def tolist(self) -> Any:
        """Waits for the device, as every way to the host does."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """On the CPU; only within :class:`AbsentGpu` there is more to it."""
        return _on_cpu(func, args, kwargs or {})


class AbsentGpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it the device is there.

    ``outside`` and ``inside`` say what was launched outside of recordings and by them, and
    ``operations`` lists it, where it is set to a list.
    Tried with torch 2.15 alone: its way to register a device is experimental.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _register()
        self.device = torch.device(NAME, 0)
        self.outside, self.inside = Work(), Work()
        self.operations: list[Operation] | None = None
        self._counted = self.outside
        self._stack = ExitStack()
        self._refused: list[str] = []
        self._in_step = False
        self._generators: Sequence[torch.Generator] | None = None  # of the recording in progress

    def __enter__(self) -> Self:
        """The device is there: ``torch.Generator``, too, which torch makes for none in Python."""
        self._stack.enter_context(patch.object(torch, "Generator", _generator_class()))
        # A thread of its own for the backward pass would not know the line that began it
        self._stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """The device is no longer there; its tensors keep their values."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._stack.close()
        self._say()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within it nothing may be waited for: no value read, no tensor sent to the device.

        Raises :class:`Refused` at its end.
        """
        self._in_step, before = True, self._in_step
        try:
            yield
        finally:
            self._in_step = before
        self._say()

    def record(
        self, function: Callable[[], Given], generators: Sequence[torch.Generator]
    ) -> Callable[[], Given]:
        """In place of a CUDA graph: a replay calls ``function`` as a recording may call it."""

        def replay() -> Given:
            self.outside.launches += 1
            if self.operations is not None:
                self.operations.append(Operation("replay", 1, 0, 0, recorded=False))
            before = self._counted, self._generators
            self._counted, self._generators = self.inside, generators
            try:
                with self.step():
                    return function()
            finally:
                self._counted, self._generators = before

        return replay

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Check, compute on the CPU, count."""
        kwargs = kwargs or {}
        given = [it for it in tree_leaves((args, kwargs)) if isinstance(it, Tensor)]
        if _concerns_device(given, kwargs):
            self._check(func, args, kwargs, given)
        out = _on_cpu(func, args, kwargs)
        self._count(func, args, kwargs, given, out)
        return out

    def _check(self, func: Any, args: Any, kwargs: Any, given: Sequence[Tensor]) -> None:
        sent = _sends(func, args, kwargs)
        strangers = [it for it in given if not isinstance(it, AbsentTensor) and it.ndim > 0]
        if strangers and not sent and len(strangers) < len(given):
            self._refuse(f"{func} gets tensors of {NAME}:0 and of the CPU")
        reason = kernels.nondeterministic(func, args, kwargs)
        if reason is not None:
            self._refuse(f"{reason} has no deterministic kernel on a GPU")
        if sent or _decides_by_values(func, args):
            self._counted.waits += 1
            if self._in_step:
                self._refuse(f"the step calls {func}, which waits for the device")
        drawn: Any = kwargs.get("generator")
        known: Any = self._generators
        if known is not None and kernels.copies_sizes(func, args):
            self._refuse(f"{func} copies sizes from the host, which a recording forbids")
        if (
            known is not None
            and drawn is not None
            and drawn._cdata not in {it._cdata for it in known}
        ):
            self._refuse(f"{func} draws from a stream that the recording does not know")

    def _refuse(self, reason: str) -> None:
        """Note it: an error within the backward pass of a device in Python ends the process."""
        self._refused.append(f"{_line()}: {reason}")

    def _say(self) -> None:
        """Raise what was noted first."""
        refused, self._refused = self._refused, []
        if refused:
            raise Refused(refused[0])

    def _count(self, func: Any, args: Any, kwargs: Any, given: Sequence[Tensor], out: Any) -> None:
        made = [it for it in tree_leaves(out) if isinstance(it, Tensor)]
        on_device = [it for it in (*given, *made) if isinstance(it, AbsentTensor)]
        if not on_device:
            return
        launches = kernels.launched(func, args)
        if not launches:
            return
        moved, flops = sum(it.numel() * it.itemsize for it in on_device), 0
        if func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        work = self._counted
        work.launches += launches
        work.moved += moved
        work.flops += flops
        if self.operations is not None:
            recorded = work is self.inside
            self.operations.append(Operation(str(func), launches, moved, flops, recorded))


def _on_cpu(func: Any, args: Any, kwargs: Any) -> Any:
    """Call ``func`` on the CPU; what it gives is of the device if its inputs or its name say so."""
    given = [it for it in tree_leaves((args, kwargs)) if isinstance(it, Tensor)]
    named = kwargs.get("device")
    stays = _concerns_device(given, kwargs) if named is None else torch.device(named).type == NAME
    plain_args, plain_kwargs = tree_map_only(AbsentTensor, lambda it: it.held, (args, kwargs))
    if named is not None:
        plain_kwargs["device"] = torch.device("cpu") if stays else named
    out = func(*plain_args, **plain_kwargs)
    if not stays:
        return out
    out = tree_map_only(Tensor, AbsentTensor, out)
    aliased: Any = return_and_correct_aliasing
    return aliased(func, args, kwargs, out)


def _concerns_device(given: Sequence[Tensor], kwargs: Any) -> bool:
    named = kwargs.get("device")
    on_device = named is not None and torch.device(named).type == NAME
    return on_device or any(isinstance(it, AbsentTensor) for it in given)


def _sends(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether it copies between host and device."""
    if func is ATEN._to_copy.default:
        named = kwargs.get("device")
        target = args[0].device.type if named is None else torch.device(named).type
        return bool(target != args[0].device.type)
    if func is ATEN.copy_.default:
        return bool(args[0].device.type != args[1].device.type)
    return False


def _decides_by_values(func: Any, args: Any) -> bool:
    if func in INDEXED:  # rows chosen by a mask make a shape that only the device knows
        return any(it is not None and it.dtype == torch.bool for it in args[1])
    return not BY_VALUES.isdisjoint(func.tags)


def _line() -> str:
    """``file:line`` of the code that called torch; in the backward pass, that which began it."""
    library = str(Path(torch.__file__).parent)
    frames = [
        it
        for it in traceback.extract_stack()
        if not it.filename.startswith(library) and it.filename != __file__
    ]
    caller = frames[-1]
    return f"{caller.filename}:{caller.lineno}"


@cache
def _register() -> None:
    """Tell torch of the device, once in a process."""
    from torch.utils import backend_registration

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16, torch.float16]

        def get_rng_state(self, device: object = None) -> torch.Tensor:
            return torch.get_rng_state()

        def set_rng_state(self, new_state: torch.Tensor, device: object = None) -> None:
            torch.set_rng_state(new_state)

    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())


@cache
def _generator_class() -> type[torch.Generator]:
    plain = torch.Generator

    class OfAbsent(plain):  # type: ignore[misc, valid-type]
        """Draws on the CPU."""

        device = torch.device(NAME, 0)

    class Generator(plain):  # type: ignore[misc, valid-type]
        """In place of torch's: also for the device."""

        def __new__(cls: type[Self], device: Any = "cpu") -> Any:
            return OfAbsent() if torch.device(device).type == NAME else plain(device)

    return Generator
