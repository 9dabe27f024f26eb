"""Optuna: who suggests the next setting, and what its dashboard shows. The one importer of optuna.

Optuna is asked and told by the driver. Its study is an index of the trial records: it can be made again from them.
What it suggests for trial i depends on the trials before it and on (seed, i) alone, so a search that was stopped goes
on with the suggestions that it would have made.
"""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from adloc.study_file.tuning import Dimension
    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord

NUMBER, MLFLOW_RUN, FINGERPRINT = "number", "mlflow_run_id", "fingerprint"
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
# A writer holds the lock for milliseconds; one that is older was left by a process that was killed.
STALE_LOCK_S = 4


def open_storage(journal: Path, url: str | None) -> BaseStorage:
    """The workspace's journal, its tail repaired; or the database at `url`.

    Raises:
        UserError: the database cannot be reached, or the journal is damaged before its tail.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        try:
            return optuna.storages.get_storage(url)
        except Exception as error:  # noqa: BLE001  # whatever a database's driver raises
            raise UserError(
                Complaint(
                    f"--storage: {type(error).__name__}: {str(error).splitlines()[0]}",
                    "it must be the URL of a database that can be reached, and whose driver is installed",
                    "use sqlite:////absolute/path.db, or leave it out for the journal in the workspace",
                )
            ) from None
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileSymlinkLock(str(journal), grace_period=STALE_LOCK_S)
    repair(journal, lock)
    try:
        return JournalStorage(JournalFileBackend(str(journal), lock))
    except (ValueError, KeyError) as error:
        raise UserError(
            Complaint(
                f"{journal}: {error}",
                "an Optuna journal must hold one JSON object a line",
                "move it away: it is made again from the trial records",
            )
        ) from None


def repair(journal: Path, lock: JournalFileSymlinkLock | None = None) -> Path | None:
    """Cut a torn last line off, under the lock; a copy is kept beside the journal and returned.

    A process that was killed while it wrote leaves half a line, and Optuna reads no journal that has one.
    """
    if not journal.exists() or not _torn(journal.read_bytes()):
        return None
    lock = lock or JournalFileSymlinkLock(str(journal), grace_period=STALE_LOCK_S)
    lock.acquire()
    try:
        content = journal.read_bytes()
        n_torn = _torn(content)  # another process may have repaired it meanwhile, or ended its line
        if not n_torn:
            return None
        copy = journal.with_name(f"{journal.name}.torn-{time.time_ns()}")
        copy.write_bytes(content)
        with journal.open("rb+") as file:
            file.truncate(len(content) - n_torn)
            file.flush()
            os.fsync(file.fileno())
        logging.getLogger(__name__).warning("%s: a torn last line was cut off; copy: %s", journal, copy)
        return copy
    finally:
        lock.release()


class Suggestions:
    """The Optuna study of one revision of a search."""

    def __init__(self, search: Search, revision: int, fingerprint: Mapping[str, Any], storage: BaseStorage) -> None:
        """Open it, or make it.

        Raises:
            UserError: the storage has another search under this name.
        """
        self._search = search
        self._encoding = {key: _encode(dimension) for key, dimension in search.space.items()}
        self._distributions = {
            key: _distribution(dimension, self._encoding[key]) for key, dimension in search.space.items()
        }
        name = f"{search.study}.{search.name}" + (f".r{revision}" if revision > 1 else "")
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=["maximize" if up else "minimize" for up in search.higher_is_better],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
        known = self._study.user_attrs.get(FINGERPRINT)
        told = json.loads(json.dumps(fingerprint))
        if known is None:
            self._study.set_user_attr(FINGERPRINT, told)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(list(search.config.objectives))
        elif known != told:
            raise UserError(
                Complaint(
                    f"the Optuna study {name} is of another search than the workspace's trial records",
                    "a storage holds one search under a name",
                    "use another --storage, or another name for the study",
                )
            )
        self._trials: dict[int, optuna.Trial] = {}

    def catch_up(self, records: Sequence[TrialRecord], track: Callable[[TrialRecord], str]) -> None:
        """Tell Optuna what the records know and it does not; what a killed process left running is asked again.

        Args:
            records: of the trials so far.
            track: shows a record in MLflow and returns the run's id.
        """
        # One that failed without an MLflow run is what a killed process left: it may have begun again since.
        ended = self._by_number(state for state in TrialState if state.is_finished())
        finished = {n for n, t in ended.items() if t.state != TrialState.FAIL or MLFLOW_RUN in t.user_attrs}
        running = self._by_number([TrialState.RUNNING])
        for record in records:
            if record.number in finished:
                continue
            if record.number in running:
                trial = optuna.Trial(self._study, running.pop(record.number)._trial_id)  # noqa: SLF001
                self._trials[record.number] = trial
                self.tell(record, track(record))
            else:
                self._add(record, track(record))
        recorded = {record.number for record in records}
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if left.user_attrs.get(NUMBER) not in recorded:
                self._study.tell(left.number, state=TrialState.FAIL)

    def ask(self, number: int) -> dict[str, Any]:
        """The values of the space for trial `number`: the untuned ones for the first, else what the sampler says.

        One that was begun before and left unfinished gets the same values again.
        """
        fixed = self._encoded(self._search.first) if number == 0 else self._left_unfinished(number)
        self._study.sampler = _sampler(self._search, number)
        if fixed and not self._by_number([TrialState.WAITING]):
            self._study.enqueue_trial(fixed, user_attrs={NUMBER: number})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self._study.ask(self._distributions)
        if NUMBER not in trial.user_attrs:
            trial.set_user_attr(NUMBER, number)
        self._trials[number] = trial
        return {key: self._encoding[key].get(value, value) for key, value in trial.params.items()}

    def tell(self, record: TrialRecord, mlflow_run_id: str) -> None:
        """What a trial found, with the constraints' distances and the MLflow run that shows it."""
        trial = self._trials.pop(record.number)
        trial.set_user_attr(MLFLOW_RUN, mlflow_run_id)
        if record.error:
            trial.set_user_attr("error", record.error.strip().splitlines()[-1][:500])
        for key, value in _constraints(self._search, record).items():
            trial.set_constraint(key, value)
        if record.state != "complete":
            # Of a trial that was stopped, the mean of the categories that it saw.
            seen = record.figures.get(self._search.config.objectives[0])
            if record.state == "pruned" and seen is not None:
                trial.report(seen, len(record.categories) - 1)
            self._study.tell(trial, state=STATES[record.state])
            return
        for step, (_, so_far) in enumerate(_running_means(self._search, record)):
            trial.report(so_far, step)
        self._study.tell(trial, [record.figures[name] or 0.0 for name in self._search.config.objectives])

    def importances(self) -> dict[str, float]:
        """Share of each hyperparameter in the first objective's spread; empty where there is none to share."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.values[0] for trial in done}) < 2:  # noqa: PLR2004
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(self._study, target=lambda trial: trial.values[0])
        return {key: float(value) for key, value in found.items()}

    def _add(self, record: TrialRecord, mlflow_run_id: str) -> None:
        """A trial that Optuna has never heard of: the journal was lost."""
        attrs = {NUMBER: record.number, MLFLOW_RUN: mlflow_run_id}
        complete = record.state == "complete"
        values = [record.figures[name] or 0.0 for name in self._search.config.objectives] if complete else None
        seen = record.figures.get(self._search.config.objectives[0])
        steps = {i: mean for i, (_, mean) in enumerate(_running_means(self._search, record))} if complete else {}
        if record.state == "pruned" and seen is not None:
            steps = {len(record.categories) - 1: seen}
        trial = optuna.trial.create_trial(
            state=STATES[record.state],
            values=values if complete or not steps else list(steps.values()),
            params=self._encoded(record.params),
            distributions=dict(self._distributions),
            user_attrs=attrs,
            intermediate_values=steps,
        )
        for key, value in _constraints(self._search, record).items():
            trial.set_constraint(key, value)
        self._study.add_trial(trial)

    def _left_unfinished(self, number: int) -> dict[str, Any]:
        """The values of this trial when it was begun before; none when it was not."""
        failed = self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        begun = [trial for trial in failed if trial.user_attrs.get(NUMBER) == number]
        return dict(begun[-1].params) if begun else {}

    def _by_number(self, states: Any) -> dict[int, FrozenTrial]:  # noqa: ANN401  # iterable of states
        trials = self._study.get_trials(deepcopy=False, states=tuple(states))
        return {t.user_attrs[NUMBER]: t for t in trials if NUMBER in t.user_attrs}

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Lists as the text that stands for them in Optuna."""
        back = {key: {json.dumps(v): text for text, v in known.items()} for key, known in self._encoding.items()}
        return {key: back[key].get(json.dumps(value), value) for key, value in values.items()}


def _torn(content: bytes) -> int:
    """Bytes at the end that are no whole line of JSON; 0 for a sound journal."""
    end = content.rfind(b"\n") + 1
    if end < len(content):
        return len(content) - end
    start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        json.loads(content[start:end] or b"{}")
    except ValueError:
        return end - start
    return 0


def _sampler(search: Search, number: int) -> BaseSampler:
    """A new one for each trial, seeded by its number: Optuna stores no sampler's state."""
    digest = sha256(f"{search.seed}:{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "little")
    if search.config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if search.config.sampler == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True, warn_independent_sampling=False)
    return optuna.samplers.TPESampler(seed=seed)


def _encode(dimension: Dimension) -> dict[str, Any]:
    """Choices that are lists by the text that stands for them, short for the dashboard: "layer2-layer3"."""
    lists = [list(c) for c in dimension.choices or () if isinstance(c, list | tuple)]
    texts = {"-".join(map(str, c)): c for c in lists}
    return texts if len(texts) == len(lists) else {json.dumps(c): c for c in lists}


def _distribution(dimension: Dimension, encoding: Mapping[str, Any]) -> BaseDistribution:
    if dimension.choices is not None:
        texts: dict[str, Any] = {json.dumps(value): text for text, value in encoding.items()}
        choices: list[Any] = [texts.get(json.dumps(c), c) for c in dimension.choices]
        return CategoricalDistribution(choices)
    low, high = dimension.low or 0, dimension.high or 0
    if dimension.type == "int":
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(float(low), float(high), log=dimension.log)


def _constraints(search: Search, record: TrialRecord) -> dict[str, float]:
    """By constraint how far a trial is above its limit; at most 0 is kept."""
    found = ((name, limit, record.figures.get(name)) for name, limit in search.config.constraints.limits().items())
    return {name: value - limit for name, limit, value in found if value is not None}


def _running_means(search: Search, record: TrialRecord) -> list[tuple[str, float]]:
    """Of one objective: after each category the mean so far, for the dashboard's curves."""
    if len(search.config.objectives) > 1:
        return []
    found: list[tuple[str, float]] = []
    total = 0.0
    for n_seen, (category, figures) in enumerate(record.categories.items(), 1):
        total += figures[search.config.objectives[0]] or 0.0
        found.append((category, total / n_seen))
    return found
