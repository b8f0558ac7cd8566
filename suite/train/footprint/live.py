"""The tensor memory that lives while code runs, of all that torch's operations make and read.

What a kernel takes for itself and gives back before it ends is not seen: scratch memory of oneDNN
and cuDNN. Nor is what an allocator keeps.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Trace:
    """What was allocated and released while something ran, in order."""

    sizes: Sequence[int]
    """Bytes of each storage, in the order in which they are met."""
    events: Sequence[int]
    """The number of a storage when it was made, ``~number`` when it was released, which may be one
    that was there before."""

    @property
    def levels(self) -> list[int]:
        """Bytes that were added at the start, which is 0, and after each event."""
        changes = (self.sizes[it] if it >= 0 else -self.sizes[~it] for it in self.events)
        return list(accumulate(changes, initial=0))


class _Storage(NamedTuple):
    size: int
    number: int | None  # None: there before the trace
    watch: weakref.ref[Any]  # calls back when it is released


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it every storage is counted from its first use to its end.

    ``bytes`` is what lives now, ``peak_bytes`` the most that did.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak_bytes = 0
        self._alive: dict[int, _Storage] = {}  # by address
        self._sizes: list[int] = []
        self._events: list[int] = []

    def note(self, tensors: Iterable[Tensor]) -> int:
        """Count tensors that are there already; returns how many bytes that adds."""
        before = self.bytes
        for tensor in tensors:
            self._note(tensor)
        return self.bytes - before

    def begin(self) -> None:
        """The trace begins here."""
        self._sizes, self._events = [], []
        self._alive = {key: it._replace(number=None) for key, it in self._alive.items()}

    def trace(self) -> Trace:
        """What has happened since :meth:`begin`."""
        return Trace(tuple(self._sizes), tuple(self._events))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what is read and what is made."""
        kwargs = kwargs or {}
        self.note(it for it in tree_leaves((args, kwargs)) if isinstance(it, Tensor))
        out = func(*args, **kwargs)
        self.note(it for it in tree_leaves(out) if isinstance(it, Tensor))
        return out

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()
        number = self._number(size)
        watch = weakref.ref(storage, lambda _: self._release(key))
        self._alive[key] = _Storage(size, number, watch)
        self._events.append(number)
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)

    def _release(self, key: int) -> None:
        ended = self._alive.pop(key)
        number = self._number(ended.size) if ended.number is None else ended.number
        self._events.append(~number)
        self.bytes -= ended.size

    def _number(self, size: int) -> int:
        """The next number, for a storage of that size."""
        self._sizes.append(size)
        return len(self._sizes) - 1


def grown(traces: dict[int, Trace], rows: int) -> Trace:
    """What a trace would be with ``rows`` images, from those of three smaller batches.

    The sizes of each storage are taken to be constant, linear or quadratic in the images, or a
    multiple of their third power: whatever is the first to fit all three. Raises
    :class:`ValueError` when the batches do not do the same things in the same order.
    """
    first, *others = traces.values()
    if any(it.events != first.events for it in others):
        raise ValueError("batches of other sizes do other things")
    known = list(traces)
    sizes = [_at(rows, known, it) for it in zip(*(it.sizes for it in traces.values()), strict=True)]
    return Trace(sizes, first.events)


def _at(rows: int, known: Sequence[int], sizes: Sequence[int]) -> int:
    """The size at ``rows`` by the sizes at three ``known`` numbers of rows."""
    (a, b, c), (at_a, at_b, at_c) = known, sizes
    slope, next_slope = (at_b - at_a) / (b - a), (at_c - at_b) / (c - b)
    if slope != next_slope and at_a * b**3 == at_b * a**3 and at_a * c**3 == at_c * a**3:
        return at_a * rows**3 // a**3
    bend = (next_slope - slope) / (c - a)
    return max(0, round(at_a + (rows - a) * (slope + bend * (rows - b))))


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors within data classes and containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif is_dataclass(value):
        yield from tensors_in(list(vars(value).values()))
