"""Loading processes that start with the first images of a run and stay until its end.

What they make comes in the order in which it was asked for. While the last images of an epoch are
made and while others evaluate, they begin with what is expected next, up to a limit.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from suite.device.machine import shared_memory_bytes
from suite.interface.errors import UserError

PREFETCHED = 4
"""Requests that each process works on or has waiting."""
log = logging.getLogger(__name__)

Request = TypeVar("Request")
Make = Callable[[Request], list[tuple[Tensor, ...]]]
Made = list[Tensor]
"""Of a request: for each view its images."""


class Series(NamedTuple, Generic[Request]):
    """Requests in their order; two with the same key ask for the same."""

    key: Hashable
    requests: Callable[[], Iterator[Request]]


@dataclass(eq=False)
class _Begun:
    """A series of which something may have come before it was asked for."""

    key: Hashable
    left: Iterator[Any]
    most_unread: int | None  # requests; None: no limit
    unread: int = 0  # sent and not handed over
    came: deque[Made] = field(default_factory=deque)
    given_up: bool = False


class _Feed:
    """What the processes get next: the series in use, then the one that is expected."""

    def __init__(self) -> None:
        self.waiting: deque[_Begun] = deque()
        self.sent: deque[_Begun] = deque()  # whose the requests are that are under way
        self.dry = True  # nothing is sent until it is iterated anew

    def __iter__(self) -> Iterator[Any]:
        self.dry = False
        while self.waiting:
            series = self.waiting[0]
            if series.most_unread is not None and series.unread >= series.most_unread:
                break
            request = next(series.left, None)
            if request is None:
                self.waiting.popleft()
                continue
            series.unread += 1
            self.sent.append(series)
            yield request
        self.dry = True

    def first(self, series: _Begun) -> None:
        """Send of this series before all others."""
        self.remove(series)
        self.waiting.appendleft(series)

    def remove(self, series: _Begun) -> None:
        """Send no more of it."""
        if series in self.waiting:
            self.waiting.remove(series)


class _Items(TorchDataset[Any], Generic[Request]):
    """What a DataLoader takes for indices of a batch is a request."""

    def __init__(self, make: Make[Request]) -> None:
        self._make = make

    def __getitems__(self, request: Request) -> list[tuple[Tensor, ...]]:
        return self._make(request)


class Pool(Generic[Request]):
    """``processes`` that call ``make``: a request -> of each image its views.

    Without processes it is called where the images are asked for, one request at a time.
    """

    def __init__(self, make: Make[Request], processes: int) -> None:
        self._make = make
        self._processes = processes
        self._room = 0  # bytes of the largest request that fits
        self._most_ahead = 0  # requests
        self._feed = _Feed()
        self._loader: DataLoader[Any] | None = None
        self._arriving: Iterator[Made] = iter(())
        self._expected: _Begun | None = None

    def made(
        self,
        series: Series[Request],
        count: int,
        request_bytes: int,
        *,
        pinned: bool = False,
        following: Series[Request] | None = None,
    ) -> Iterator[Made]:
        """What becomes of each of ``count`` requests; ``following`` is begun meanwhile.

        ``request_bytes`` is the size of the largest, ``pinned`` asks for page-locked memory.
        Raises what ``make`` raises.
        """
        if not self._running(request_bytes, pinned=pinned):
            yield from (default_collate(self._make(it)) for it in series.requests())
            return
        now = self._first(series)
        self._expect(following)
        self._send()
        try:
            for _ in range(count):
                yield self._next(now)
        finally:
            self._give_up(now)

    def close(self) -> None:
        """End the processes; whoever asks for images later starts others."""
        loader, self._loader = self._loader, None
        self._feed, self._arriving, self._expected = _Feed(), iter(()), None
        iterator: Any = None if loader is None else loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()  # now, even if a traceback still holds it

    def _running(self, request_bytes: int, *, pinned: bool) -> bool:
        """Whether there are processes with room for such requests; starts them."""
        loader = self._loader
        if loader is not None:
            if loader.pin_memory == pinned and request_bytes <= self._room:
                return True
            self.close()
        processes, ahead = within(shared_memory_bytes(), self._processes, request_bytes)
        if ahead is None:
            return False
        self._room, self._most_ahead = request_bytes, processes * ahead
        self._loader = DataLoader(
            _Items(self._make),
            batch_sampler=self._feed,  # of requests, not of indices
            num_workers=processes,
            prefetch_factor=ahead,
            persistent_workers=True,
            pin_memory=pinned,
            multiprocessing_context="fork",  # they share what is loaded
            generator=torch.Generator(),  # by default it takes a number from the global stream
        )
        return True

    def _first(self, series: Series[Request]) -> _Begun:
        """The series, to be sent before all others; it may have been expected."""
        now = self._expected
        if now is None or now.key != series.key:
            now = _Begun(series.key, series.requests(), None)
        else:
            now.most_unread, self._expected = None, None
        self._feed.first(now)
        return now

    def _expect(self, series: Series[Request] | None) -> None:
        """Begin with ``series``, after the one in use; None: with what was expected before."""
        if series is None or (self._expected and self._expected.key == series.key):
            return
        if self._expected is not None:
            self._give_up(self._expected)
        self._expected = _Begun(series.key, series.requests(), self._most_ahead)
        self._feed.waiting.append(self._expected)

    def _send(self) -> None:
        """Keep the processes at work; they get more with each request that arrives."""
        if not self._feed.dry:
            return
        while self._feed.sent:
            self._receive()
        with self._closed_on_failure():
            self._arriving = iter(() if self._loader is None else self._loader)

    def _next(self, series: _Begun) -> Made:
        while not series.came:
            self._receive(series)
        series.unread -= 1
        return series.came.popleft()

    def _receive(self, wanted: _Begun | None = None) -> None:
        """Take what arrives next to the series that asked for it.

        What is not ``wanted`` yet leaves the shared memory, which has no room for it.
        """
        with self._closed_on_failure():
            made = next(self._arriving)
        whose = self._feed.sent.popleft()
        if whose is not wanted:
            made = [it if it.is_pinned() else it.clone() for it in made]
        if not whose.given_up:
            whose.came.append(made)

    def _give_up(self, series: _Begun) -> None:
        """What is under way of it is dropped as it arrives."""
        series.given_up = True
        series.came.clear()
        series.left = iter(())  # it may hold on to this pool
        self._feed.remove(series)

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        """What is under way would be taken for something else. Shortens the errors of processes."""
        try:
            yield
        except StopIteration:
            raise RuntimeError("the loading processes were ended while images were read") from None
        except UserError as error:  # its message is a traceback
            self.close()
            kind = type(error)
            raise kind(str(error).strip().rpartition(f"{kind.__name__}: ")[2]) from None
        except (ConnectionError, EOFError, FileNotFoundError) as error:  # its side of a transfer
            self.close()
            raise RuntimeError(
                f"a loading process exited unexpectedly ({type(error).__name__}); was it killed "
                "for want of memory?"
            ) from error
        except BaseException:
            self.close()
            raise


def within(room: int | None, processes: int, request_bytes: int) -> tuple[int, int | None]:
    """Loading processes, and requests that each makes ahead, for which there is shared memory.

    At most ``processes`` and :data:`PREFETCHED`. They take half of the ``room`` in bytes, since
    other runs may look at the same moment, one request of it for the one in use. Without room for
    a request of one process there is none, and images are decoded where they are needed.
    """
    if processes == 0:
        return 0, None
    if room is None or request_bytes == 0:
        return processes, PREFETCHED
    requests = room // (2 * request_bytes) - 1
    fewer = max(0, min(processes, requests))
    ahead = min(PREFETCHED, requests // fewer) if fewer else None
    if (fewer, ahead) != (processes, PREFETCHED):
        log.warning(
            "shared memory has %.0f MB free and a part of a batch takes %.0f MB: %d loading "
            "processes, each %d parts ahead, instead of %d and %d; in a container, --shm-size "
            "gives more",
            *(room / 1e6, request_bytes / 1e6, fewer, ahead or 0, processes, PREFETCHED),
        )
    return fewer, ahead
