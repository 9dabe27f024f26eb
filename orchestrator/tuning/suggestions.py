"""Optuna: who suggests the next setting, and what its dashboard shows.

Optuna is asked and told by the driver. Its study is an index of the trial records: it can be made again from them.
What it suggests for trial i depends on the records of the trials before it and on (seed, i) alone, so a search that was
stopped goes on with the suggestions that it would have made.
"""

from __future__ import annotations

import json
import operator
import warnings
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adloc.errors import in_one_line
from adloc.tuning.storage import held
from adloc.tuning.tpe import Past, tpe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from adloc.study_file.tuning import Dimension
    from adloc.tuning.search import Search
    from adloc.tuning.trial_records import TrialRecord

NUMBER, MLFLOW_RUN, FINGERPRINT, TICKET = "number", "mlflow_run_id", "fingerprint", "ticket"
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
MOST_ATTEMPTS = 10  # to find a setting that was not tried


class Suggestions:
    """The Optuna study of one revision of a search."""

    @held
    def __init__(
        self, search: Search, revision: int, ticket: str, fingerprint: Mapping[str, Any], storage: BaseStorage
    ) -> None:
        """Open it, or make it: under a name of its own where the storage has another workspace's under this name.

        Args:
            search: what is searched.
            revision: of the search.
            ticket: of the revision.
            fingerprint: of the search, for those who look at the storage.
            storage: see `adloc.tuning.storage`.
        """
        self._search = search
        self._encoding = {key: _encode(dimension) for key, dimension in search.space.items()}
        self._distributions = {
            key: _distribution(dimension, self._encoding[key]) for key, dimension in search.space.items()
        }
        self._directions = [
            StudyDirection.MAXIMIZE if up else StudyDirection.MINIMIZE for up in search.higher_is_better
        ]
        name = f"{search.study}.{search.name}" + (f".r{revision}" if revision > 1 else "")
        known = {study.study_name: study.user_attrs.get(TICKET) for study in optuna.get_all_study_summaries(storage)}
        if known.get(name, ticket) != ticket:
            name = f"{name}.{ticket}"
        try:
            self._study = self._open(storage, name, known=name in known)
        except optuna.exceptions.DuplicatedStudyError:  # another workspace's driver was faster
            self._study = self._open(storage, f"{name}.{ticket}", known=True)
        self._memory: optuna.Study | None = None
        self._known: list[TrialRecord] = []  # of which it has the trials
        self._tried: set[frozenset[tuple[str, Any]]] = set()  # their settings
        self._unfinished: list[int] = []  # numbers of the storage's trials that may change, of so many that were seen
        self._n_seen = 0
        self._past = Past(self._distributions)
        if TICKET not in self._study.user_attrs:
            self._study.set_user_attr(FINGERPRINT, json.loads(json.dumps(fingerprint)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(list(search.config.objectives))
            self._study.set_user_attr(TICKET, ticket)

    def _open(self, storage: BaseStorage, name: str, *, known: bool) -> optuna.Study:
        return optuna.create_study(
            storage=storage,
            study_name=name,
            directions=self._directions,
            load_if_exists=known,
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )

    @held
    def catch_up(self, records: Sequence[TrialRecord], track: Callable[[TrialRecord], str]) -> None:
        """Tell Optuna what the records know and it does not.

        Args:
            records: of the trials so far.
            track: shows a record in MLflow and returns the run's id.
        """
        ended = {(t.user_attrs.get(NUMBER), t.state) for t in self._ended() if MLFLOW_RUN in t.user_attrs}
        for record in records:
            run_id = track(record)
            if (record.number, STATES[record.state]) not in ended:
                self.tell(record, run_id)
        for left in self._running():
            if left.user_attrs.get(NUMBER, -1) >= self._search.config.trials:
                self._study.tell(left.number, state=TrialState.FAIL)

    @held
    def ask(self, number: int, before: Sequence[TrialRecord], beside: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The values of the space for trial `number`: the untuned ones for the first, else what the sampler says.

        Args:
            number: of the trial.
            before: every trial of the waves before: with `beside`, all that the answer depends on.
            beside: settings of the earlier trials of its wave, of which nothing is known yet.
        """
        values = dict(self._search.first) if number == 0 else self._suggest(number, before, beside)
        if not any(t.user_attrs.get(NUMBER) == number for t in self._running()):  # as a killed process left it
            encoded, known = self._encoded(values), {NUMBER: number}
            self._study.add_trial(_trial(TrialState.RUNNING, encoded, self._distributions, user_attrs=known))
        return values

    @held
    def tell(self, record: TrialRecord, mlflow_run_id: str) -> None:
        """What a trial found, with the constraints' distances and the MLflow run that shows it.

        One that Optuna has not heard of is added: it is tried again after a failure, or the journal was lost. What it
        knows of this MLflow run already is not told again: the database took it, and its answer was lost.
        """
        left = [t for t in self._running() if t.user_attrs.get(NUMBER) == record.number]
        if not left:
            known = [t.state for t in self._ended() if t.user_attrs.get(MLFLOW_RUN) == mlflow_run_id]
            if STATES[record.state] in known:
                return
            told = self._frozen(record)
            told.set_user_attr(NUMBER, record.number)
            told.set_user_attr(MLFLOW_RUN, mlflow_run_id)
            self._study.add_trial(told)
            return
        for twice in left[:-1]:  # Optuna adds a trial again where the answer to its first attempt was lost
            self._study.tell(twice.number, state=TrialState.FAIL)
        trial = optuna.Trial(self._study, left[-1]._trial_id)  # noqa: SLF001
        trial.set_user_attr(MLFLOW_RUN, mlflow_run_id)
        if record.error:
            trial.set_user_attr("error", in_one_line(record.error)[:500])
        for key, value in self._search.excess(record).items():
            trial.set_constraint(key, value)
        for step, value in self._course(record).items():
            trial.report(value, step)
        values = self._values(record)
        self._study.tell(trial, values, state=None if values else STATES[record.state])

    @held
    def importances(self) -> dict[str, float]:
        """Share of each hyperparameter in the first objective's spread; empty where there is none to share."""
        done = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.values[0] for trial in done}) < 2:  # noqa: PLR2004
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(self._study, target=lambda trial: trial.values[0])
        return {key: float(value) for key, value in found.items()}

    def _suggest(
        self, number: int, before: Sequence[TrialRecord], beside: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """From a study in memory: what the storage holds besides, or has lost, changes no suggestion.

        A setting that was suggested before is asked for again, as often as is reasonable in a space that may have
        no other left. What was asked is ended as failed, which no sampler looks at: the study is as it was.
        """
        study = self._remembered(before)
        n_before = len(study.get_trials(deepcopy=False))
        study.sampler = _sampler(self._search, number, self._distributions, self._past)
        for values in beside:
            study.add_trial(_trial(TrialState.RUNNING, self._encoded(values), self._distributions))
        tried_beside = {self._setting(values) for values in beside}
        found: dict[str, Any] = {}
        for _ in range(MOST_ATTEMPTS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                trial = study.ask(self._distributions)
            found = {key: self._encoding[key].get(value, value) for key, value in trial.params.items()}
            if (setting := self._setting(found)) not in self._tried and setting not in tried_beside:
                break
            study.tell(trial, state=TrialState.FAIL)
        for left in study.get_trials(deepcopy=False)[n_before:]:
            if left.state == TrialState.RUNNING:
                study.tell(left.number, state=TrialState.FAIL)
        return found

    def _remembered(self, before: Sequence[TrialRecord]) -> optuna.Study:
        """The study in memory with these trials; made anew where those it has are no longer the first of them."""
        if self._memory is None or not all(map(operator.is_, self._known, before)) or len(self._known) > len(before):
            self._memory, self._known, self._tried = optuna.create_study(directions=self._directions), [], set()
            self._past = Past(self._distributions)
        for record in before[len(self._known) :]:
            self._memory.add_trial(self._frozen(record))
            self._known.append(record)
            self._tried.add(self._setting(record.params))
        return self._memory

    def _frozen(self, record: TrialRecord) -> FrozenTrial:
        """A record as Optuna keeps it."""
        trial = _trial(
            STATES[record.state],
            self._encoded(record.params),
            self._distributions,
            values=self._values(record) or (list(self._course(record).values()) or None),
            intermediate_values=self._course(record),
        )
        for key, value in self._search.excess(record).items():
            trial.set_constraint(key, value)
        return trial

    def _values(self, record: TrialRecord) -> list[float] | None:
        """The objectives of a complete trial."""
        if record.state != "complete":
            return None
        return [record.figures[name] or 0.0 for name in self._search.config.objectives]

    def _course(self, record: TrialRecord) -> dict[int, float]:
        """Of one objective: after each category the mean so far, for the dashboard's curves and for the sampler.

        Of a trial that was stopped, the mean of the categories that it saw.
        """
        if record.state == "complete":
            return {step: mean for step, (_, mean) in enumerate(_running_means(self._search, record))}
        seen = record.figures.get(self._search.config.objectives[0])
        return {len(record.categories) - 1: seen} if record.state == "pruned" and seen is not None else {}

    def _ended(self) -> list[FrozenTrial]:
        """Trials that were told."""
        return self._study.get_trials(deepcopy=False, states=[s for s in TrialState if s.is_finished()])

    def _running(self) -> list[FrozenTrial]:
        """Trials that were begun and not told: what has ended is not looked at again."""
        trials = self._study.get_trials(deepcopy=False)
        left = [trials[number] for number in (*self._unfinished, *range(self._n_seen, len(trials)))]
        self._unfinished, self._n_seen = [t.number for t in left if not t.state.is_finished()], len(trials)
        return [t for t in left if t.state == TrialState.RUNNING]

    def _setting(self, values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
        """Equal for equal values, however they are written."""
        return frozenset(self._encoded(values).items())

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Lists and mappings as the text that stands for them in Optuna."""
        return {key: _text_of(value, self._encoding[key]) for key, value in values.items()}


def _sampler(search: Search, number: int, space: Mapping[str, BaseDistribution], past: Past) -> BaseSampler:
    """A new one for each trial, seeded by its number: Optuna stores no sampler's state."""
    digest = sha256(f"{search.seed}:{number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "little")
    if search.config.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if search.config.sampler == "gp":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.GPSampler(seed=seed, deterministic_objective=True, warn_independent_sampling=False)
    return tpe(seed, space, past)


def _encode(dimension: Dimension) -> dict[str, Any]:
    """Choices that are lists or mappings by the text that stands for them, short for the dashboard: "layer2-layer3"."""
    several = [c for c in dimension.choices or () if isinstance(c, list | dict)]
    texts = {_short(c): c for c in several}
    return texts if len(texts) == len(several) else {json.dumps(c): c for c in several}


def _short(choice: list[Any] | dict[str, Any]) -> str:
    """ "layer2-layer3", "rows 2, columns 3"."""
    if isinstance(choice, dict):
        return ", ".join(f"{key} {value}" for key, value in choice.items())
    return "-".join(map(str, choice))


def _text_of(value: object, encoding: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as Optuna keeps it
    """The text that stands for a value, however the value is written (0.0 for 0); the value itself where none does."""
    plain = list(value) if isinstance(value, tuple) else value
    return next((text for text, choice in encoding.items() if choice == plain), value)


def _distribution(dimension: Dimension, encoding: Mapping[str, Any]) -> BaseDistribution:
    if dimension.choices is not None:
        return CategoricalDistribution([_text_of(choice, encoding) for choice in dimension.choices])
    low, high = dimension.low or 0, dimension.high or 0
    if dimension.type == "int":
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(float(low), float(high), log=dimension.log)


def _trial(
    state: TrialState,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    **known: Any,  # noqa: ANN401  # create_trial's
) -> FrozenTrial:
    """A trial with all its params, of any state."""
    return optuna.trial.create_trial(state=state, params=dict(params), distributions=dict(distributions), **known)


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
