"""docs/experiments.md says what experiments may say, no more and no less."""

import re

import pytest

from sweeps.plan import reference
from sweeps.plan.expand import expand
from sweeps.plan.experiment import Experiment, ModelEntry


def test_the_page_lists_every_key_as_the_code_has_it():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.written(), (
        "write the tables anew: python -m sweeps.plan.reference"
    )


@pytest.mark.parametrize("model", reference.MODELS.values(), ids=lambda model: model.__name__)
def test_every_key_has_a_meaning(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_the_tables_name_keys_limits_and_defaults():
    text = reference.tables()
    for key in [*Experiment.model_fields, *ModelEntry.model_fields]:
        assert f"| `{key}` |" in text
    assert "| `seeds` | list[int] (at least 1) | must be given | Every row" in text
    assert "| `batch_size` | int (≥ 2) | `64` | Images per optimizer step" in text
    assert "| `name` | `multistep`, `step`, `cosine`, `constant` | `cosine` |" in text
    assert "| `checkpoint` | str or null | null | As a teacher:" in text


def test_the_pages_example_is_an_experiment(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", reference.PAGE.read_text(), flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    plan = expand(str(path))
    assert [spec.config.train.epochs for spec in plan.runs] == [60] + 15 * [30]
    labels = dict.fromkeys(cell.spec.label for cell in plan.cells if cell.pair)
    assert list(labels) == ["scratch", "kd", "kd hot", "dkd beta=2", "dkd beta=8"]
