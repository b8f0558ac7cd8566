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
