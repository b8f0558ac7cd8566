"""Made-up run stores for the tests of the analysis."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests is no package: `import synthetic_store`
from synthetic_store import Store, digits


@pytest.fixture
def store(tmp_path) -> Store:
    """An empty store to fill."""
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Store:
    """A digits sweep with all runs finished; to be read only."""
    return digits(tmp_path_factory.mktemp("finished") / "runs")
