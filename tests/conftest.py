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
    """The files of sweeps take longest; were they last, one process would do them alone."""
    sweeps = Path(__file__).parent / "sweeps"
    items.sort(key=lambda item: not item.path.is_relative_to(sweeps))
