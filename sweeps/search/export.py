"""The whole search as one file, ``search.json``, for pictures and for whoever wants to check it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from suite.store.record import write_json
from sweeps.plan.tuned import Chosen, Tuned
from sweeps.search import space as spaces
from sweeps.search.method_study import STATES, MethodStudy
from sweeps.search.plan import SearchPlan
from sweeps.search.trials import ACCURACY

FILE = "search.json"


def best_trial(study: MethodStudy) -> FrozenTrial | None:
    """The complete trial with the highest validation accuracy, the first of equals."""
    complete = study.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)


def trials_sha256(study: MethodStudy) -> str:
    """Hash of the study's name and of every trial: number, state, parameters and values."""
    rows = [
        [trial.number, trial.state.name, trial.params, trial.values]
        for trial in study.study.get_trials(deepcopy=False)
    ]
    content = json.dumps([study.study.study_name, rows], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def tuned_settings(plan: SearchPlan, study: MethodStudy) -> Tuned | None:
    """What the search chose for the method; None as long as no trial is complete."""
    best = best_trial(study)
    if best is None:
        return None
    states = [trial.state for trial in study.study.get_trials(deepcopy=False)]
    settings, config = plan.settings, study.tuning.templates[0].config
    return Tuned(
        method=study.tuning.method,
        **spaces.fields(best.params),
        chosen=Chosen(
            search=plan.name,
            study=study.study.study_name,
            study_sha256=trials_sha256(study),
            pair=settings.pair,
            dataset=config.data.name,
            split="val",
            objective=f"{ACCURACY}, {settings.objective.epoch} epoch, mean over seeds",
            seeds=settings.seeds,
            budget=settings.budget.model_dump(exclude_none=True),
            trials={name: states.count(state) for state, name in STATES.items() if state in states},
            best_trial=best.number,
            best_value=best.values[0],
            default_value=_default_value(study),
        ),
    )


def _default_value(study: MethodStudy) -> float | None:
    first = study.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[0]
    return first.values[0] if first.user_attrs.get("defaults") else None


def write(plan: SearchPlan, studies: list[MethodStudy], runs_root: Path) -> Path:
    """Write ``runs/<search>/search.json``; returns its path."""
    path = runs_root / plan.name / FILE
    command = [f"make search EXP={plan.source}"]
    if plan.arguments:
        command.append(f"SET='{' '.join(plan.arguments)}'")
    write_json(
        path,
        {
            "search": plan.name,
            "command": " ".join(command),
            "note": plan.note,
            "settings": plan.settings.model_dump(mode="json"),
            "studies": [_study(study) for study in studies],
        },
    )
    return path


def _study(study: MethodStudy) -> dict[str, Any]:
    best = best_trial(study)
    return {
        "method": study.tuning.method,
        "study": study.study.study_name,
        "study_sha256": trials_sha256(study),
        "space": spaces.fingerprint(study.tuning.space),
        "epochs": study.tuning.epochs,
        "best_trial": None if best is None else best.number,
        "front": [t.number for t in study.study.best_trials] if best is not None else [],
        "trials": [_trial(trial) for trial in study.study.get_trials(deepcopy=False)],
    }


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    started, ended = trial.datetime_start, trial.datetime_complete
    return {
        "number": trial.number,
        "state": STATES.get(trial.state, trial.state.name.lower()),
        "params": trial.params,
        "values": trial.values,
        "intermediate": {str(k): v for k, v in sorted(trial.intermediate_values.items())},
        "runs": trial.user_attrs.get("runs", []),
        "train_seconds": trial.user_attrs.get("train_seconds"),
        "failure": trial.user_attrs.get("failure"),
        "defaults": bool(trial.user_attrs.get("defaults")),
        "started": None if started is None else started.isoformat(timespec="seconds"),
        "ended": None if ended is None else ended.isoformat(timespec="seconds"),
    }
