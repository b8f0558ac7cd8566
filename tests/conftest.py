"""Fixtures for all tests."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests is no package: `import golden_numbers`
from golden_numbers import Golden, load


@pytest.fixture(scope="session")
def golden() -> Callable[..., Golden]:
    """``golden(name, dtype)``: one file of reference losses and gradients."""
    return load


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first; were they last, one process would do them alone."""
    tests = Path(__file__).parent
    longest = (tests / "test_every_method.py", tests / "sweeps")
    items.sort(key=lambda item: not any(map(item.path.is_relative_to, longest)))
