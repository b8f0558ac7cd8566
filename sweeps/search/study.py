"""Optuna's studies: one per method, in a journal file beside the runs or in a database."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from suite.interface.errors import UserError
from suite.store.record import write_atomically
from sweeps.search.plan import Tuning
from sweeps.search.sampling import make_pruner, make_sampler, quiet

log = logging.getLogger(__name__)
JOURNAL = "study.journal"
LOCK_SUFFIX = ".lock"  # optuna.storages.journal's


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """The storage at ``url``, or the journal file in ``folder``.

    The caller must be the only driver: what a killed one left half-written is mended here. Raises
    :class:`UserError` for a URL that cannot be one, and what ``outage.OUTAGE`` lists when the
    database does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL
        _mend(journal)
        return JournalStorage(JournalFileBackend(str(journal)))
    try:
        return get_storage(url)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"storage {_without_password(url)}: {reason}") from None


def _mend(journal: Path) -> None:
    """Drop a torn last line, which Optuna would never read past, and a dead driver's lock."""
    Path(f"{journal}{LOCK_SUFFIX}").unlink(missing_ok=True)
    if not journal.is_file():
        return
    content = journal.read_bytes()
    complete_lines = content[: content.rfind(b"\n") + 1]
    good_bytes = _good_bytes(complete_lines)
    if good_bytes < len(complete_lines):
        _rebuild(journal, complete_lines, good_bytes)
    elif len(complete_lines) < len(content):
        with journal.open("r+b") as file:
            file.truncate(len(complete_lines))


def _good_bytes(content: bytes) -> int:
    """How many bytes there are before the first damaged line."""
    good = 0
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            return good
        if not (isinstance(entry, dict) and isinstance(entry.get("op_code"), int)):
            return good
        good += len(line)
    return good


def _rebuild(journal: Path, content: bytes, good: int) -> None:
    """Keep what stands before the damage: later trials are asked anew and find their runs."""
    number = 1
    while (aside := Path(f"{journal}.damaged-{number}")).exists():
        number += 1
    aside.write_bytes(content)
    write_atomically(journal, content[:good])
    line, lines = content[:good].count(b"\n") + 1, content.count(b"\n")
    log.warning(
        "%s: line %d of %d is damaged; the study goes on from the line before, its later trials "
        "are asked again and finished runs are not trained again (the old file: %s)",
        *(journal, line, lines, aside.name),
    )


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url


def open_study(tuning: Tuning, storage: BaseStorage) -> Study:
    """The method's study, made if there is none yet, with the defaults as its first trial."""
    settings = tuning.settings
    second = settings.objective.second is not None
    study = optuna.create_study(
        storage=storage,
        study_name=tuning.study_name,
        directions=["maximize", "minimize"] if second else ["maximize"],
        pruner=make_pruner(settings.pruner, tuning.epochs),
        load_if_exists=True,
    )
    if second:
        with quiet():
            study.set_metric_names(["validation accuracy (%)", "seconds per step"])
    defaults = tuning.defaults()
    wanted = settings.sampler.defaults_first and settings.sampler.name != "grid"
    if wanted and defaults and not study.get_trials(deepcopy=False):
        study.enqueue_trial(defaults, user_attrs={"defaults": True})
    return study


def propose(study: Study, tuning: Tuning) -> Trial:
    """A new trial with all its parameters."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    number = waiting[0].number if waiting else len(study.get_trials(deepcopy=False))
    study.sampler = make_sampler(tuning.settings.sampler, tuning.space, number)
    return study.ask(dict(tuning.space))


def complete(study: Study, tuning: Tuning, trial: FrozenTrial) -> Trial:
    """A trial whose driver was killed while it asked: its missing parameters are proposed now.

    What was drawn before is drawn again and dropped, so that the rest is what it would have been.
    """
    study.sampler = make_sampler(tuning.settings.sampler, tuning.space, trial.number)
    resumed = Trial(study, trial._trial_id)
    fixed = trial.system_attrs.get("fixed_params", {})
    drawn_jointly = resumed.relative_params
    for name, distribution in tuning.space.items():
        if name not in trial.params:
            resumed._suggest(name, distribution)  # what study.ask does with the whole space
        elif not (name in fixed or name in drawn_jointly or distribution.single()):
            study.sampler.sample_independent(study, trial, name, distribution)
    return resumed
