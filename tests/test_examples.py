"""The notebook runs from its first cell to its last, on runs that the suite has trained."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
STORE = ROOT / "tests" / "stores" / "version_0.1.0" / "runs"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_goes_from_a_run_store_to_a_figure(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "first_figure.ipynb", as_version=4)
    parameters = next(cell for cell in notebook.cells if cell.id == "parameters")
    assert parameters.source == 'RUNS_ROOT = "../runs"\nEXPERIMENT = "dskd_digits"'
    parameters.source = f'RUNS_ROOT = "{STORE}"\nEXPERIMENT = "tiny"'
    done = NotebookClient(notebook, timeout=120).execute(cwd=str(tmp_path))
    shown = {
        cell.id: cell.outputs[0].data["text/plain"] for cell in done.cells if cell.get("outputs")
    }
    assert "13.55" in shown["accuracy"]  # kd's record says 13.5508
    assert (tmp_path / "first_figure.png").stat().st_size > 10_000
