"""Files are read by threads only where reading waits."""

import threading
import time

import pytest

from analysis.runs.threads import FIRST, in_threads

ITEMS = list(range(3 * FIRST))


@pytest.mark.parametrize(("seconds", "by_others"), [(0, False), (0.0005, True)])
def test_only_reading_that_waits_is_shared_among_threads(seconds, by_others):
    readers = set()

    def read(item):
        if seconds:
            time.sleep(seconds)
        readers.add(threading.get_ident())
        return 2 * item

    assert list(in_threads(read, ITEMS)) == [2 * item for item in ITEMS]
    assert (len(readers) > 1) == by_others


def test_less_than_the_first_items_and_none():
    assert list(in_threads(str, [])) == []
    assert list(in_threads(str, [1, 2])) == ["1", "2"]
