"""What a search wrote down, as tables of numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import CategoricalDistribution, json_to_distribution
from optuna.trial import TrialState, create_trial

from analysis.statistics.stats import Array
from suite.interface.errors import UserError

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
LEAST_FOR_IMPORTANCE = 8
"""Complete trials below which importances would be noise."""


class SearchRecordError(UserError):
    """There is no search to report; the message names the file."""


@dataclass(frozen=True)
class Study:
    """The trials of one method."""

    content: dict[str, Any]
    seeds: int

    @property
    def method(self) -> str:
        """Its name."""
        return str(self.content["method"])

    @property
    def two_objectives(self) -> bool:
        """Whether a second figure was minimised."""
        return any(len(it["values"] or ()) > 1 for it in self.content["trials"])

    @cached_property
    def params(self) -> list[str]:
        """What was searched, in the order of the search's file."""
        return list(self.content["space"])

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial: ``number, state, accuracy, second, train_seconds, defaults`` and the
        parameters. ``accuracy`` of a pruned trial is its last intermediate value.
        """
        rows = [
            {
                **{key: it[key] for key in ("number", "state", "train_seconds", "defaults")},
                "accuracy": it["values"][0] if it["values"] else None,
                "second": it["values"][1] if len(it["values"] or ()) > 1 else None,
                **it["params"],
            }
            for it in self.content["trials"]
        ]
        columns = ["number", "state", "train_seconds", "defaults", "accuracy", "second"]
        frame = pd.DataFrame(rows, columns=[*columns, *self.params])
        numbers = ["accuracy", "second", "train_seconds"]
        return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})

    @property
    def complete(self) -> pd.DataFrame:
        """The trials that trained to their end."""
        return self.trials[self.trials["state"] == "complete"]

    @property
    def tried(self) -> Array:
        """[N] validation accuracy of every trial that was not failed; of a pruned one its last."""
        kept = self.trials[self.trials["state"] != "failed"]
        return kept["accuracy"].dropna().to_numpy(dtype=np.float64)

    def is_log(self, param: str) -> bool:
        """Whether the parameter was searched on a log scale."""
        return bool(self.content["space"][param]["attributes"].get("log", False))

    def is_number(self, param: str) -> bool:
        """Whether the parameter's values have an order."""
        return bool(pd.api.types.is_numeric_dtype(self.trials[param])) and not bool(
            pd.api.types.is_bool_dtype(self.trials[param])
        )

    def curves(self) -> dict[int, dict[int, float]]:
        """Trial number -> step -> intermediate accuracy in percent."""
        return {
            it["number"]: {int(step): value for step, value in it["intermediate"].items()}
            for it in self.content["trials"]
        }

    def importances(self) -> dict[str, float]:
        """Parameter -> share of the accuracy's variance over complete trials (fANOVA, Hutter et
        al. 2014), largest first; empty for too few trials or parameters.
        """
        if len(self.complete) < LEAST_FOR_IMPORTANCE or len(self.params) < 2:
            return {}
        if self.complete["accuracy"].nunique() < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        study = self._in_memory()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))

    def _in_memory(self) -> optuna.Study:
        """Optuna's own form of the complete trials, accuracy alone."""
        space = {
            name: json_to_distribution(json.dumps(it)) for name, it in self.content["space"].items()
        }
        study = optuna.create_study(direction="maximize")
        for it in self.content["trials"]:
            if it["state"] != "complete":
                continue
            params = {name: _in_choices(space[name], value) for name, value in it["params"].items()}
            study.add_trial(create_trial(params=params, distributions=space, value=it["values"][0]))
        return study


def read(record: Path) -> tuple[dict[str, Any], list[Study]]:
    """The record and its studies. Raises :class:`SearchRecordError`."""
    try:
        content: dict[str, Any] = json.loads(record.read_bytes())
    except (OSError, ValueError) as error:
        raise SearchRecordError(f"{record}: no record of a search: {error}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seeds = len(content["settings"]["seeds"])
    return content, [Study(it, seeds) for it in content["studies"]]


def _in_choices(distribution: optuna.distributions.BaseDistribution, value: Any) -> Any:
    """The choice itself: JSON turns tuples into lists."""
    if isinstance(distribution, CategoricalDistribution):
        return next(choice for choice in distribution.choices if choice == value)
    return value
