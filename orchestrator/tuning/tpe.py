"""TPE as Optuna has it, to the bit for 250 trials, that keeps what it knew of the trials at the suggestion before.

Optuna's reads every trial again at each suggestion, of several objectives for each hyperparameter. Ended trials do not
change, so here each is read once. And each of Optuna's trials is a kernel of a mixture, so a suggestion takes the
longer the more there are. Here the newest so many count, which differs where 250 have ended: the one that is forgotten
first has the least of Optuna's weights. What that changes in what is found is in docs/costs.md.
"""

from __future__ import annotations

import inspect
from bisect import bisect, insort
from functools import cache, reduce
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# What is done here in their place; where a version of Optuna has other ones, its own sampler suggests.
_OPTUNAS = "optuna.samplers._tpe."
_REPLACED = (
    *(f"sampler.{name}" for name in (
        "TPESampler._sample_relative", "TPESampler.sample_independent", "TPESampler._sample", "TPESampler._get_params",
        "TPESampler._get_internal_repr", "TPESampler._build_parzen_estimator", "default_gamma",
        "default_gamma_multiobjective", "_split_trials", "_split_complete_trials",
        "_split_complete_trials_single_objective", "_get_pruned_trial_score", "_split_pruned_trials",
        "_get_infeasible_trial_score", "_split_infeasible_trials",
        # On how these rank it relies to leave trials out.
        "_split_complete_trials_multi_objective", "_get_reference_point", "_fast_non_domination_rank",
    )),
)  # fmt: skip
_KNOWN = {"9e711f329ba9c933"}  # digests of their source: Optuna 5.0
# Kernels of the two mixtures, besides the prior. Of one objective the best are at most 25 in Optuna; with 50 of two a
# search had found less by trial 1,000.
MOST_GOOD, MOST_OTHER = 100, 225


class Past:
    """The trials of one study as TPE looks at them, for the samplers that suggest its trials one after the other."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        """Of no trials yet."""
        self._space = dict(space)
        self._columns = {name: column for column, name in enumerate(space)}
        self._trials: list[FrozenTrial] = []
        self._open: list[int] = []  # numbers of those that may change
        self._rows = np.empty((0, len(space)))  # by number: the values as Optuna has them, nan where there is none
        self._ended = np.empty(0, bool)  # by number: complete or pruned
        # Of those, best first: complete ones, pruned ones, and those that break a constraint. Of several objectives
        # complete ones by number: which are best depends on the others.
        self._order: list[tuple[int, float, float, int]] = []
        self._contenders = Contenders(MOST_GOOD)  # of several objectives, of complete ones
        self._below: dict[int, list[int]] = {}  # the best so many, until the next trial has ended

    @property
    def n_ended(self) -> int:
        """Trials that are complete or pruned."""
        return len(self._order)

    def catch_up(self, study: Study, params: Callable[[FrozenTrial, Study], Mapping[str, Any]]) -> None:
        """Read what was begun or has ended since; `params` of a trial."""
        self._trials = study.get_trials(deepcopy=False)
        n_new = len(self._trials) - len(self._rows)
        changed = [*self._open, *range(len(self._rows), len(self._trials))]
        self._rows = np.concatenate([self._rows, np.full((n_new, len(self._columns)), np.nan)])
        self._ended = np.concatenate([self._ended, np.zeros(n_new, bool)])
        self._open = [number for number in changed if not self._trials[number].state.is_finished()]
        for number in changed:
            trial = self._trials[number]
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                rank = _rank(trial, study)
                insort(self._order, (*rank, number))
                if study._is_multi_objective() and rank[0] == 0:  # noqa: SLF001
                    self._contenders.add(number, _losses(trial, study))
                self._ended[number] = True
                self._below.clear()
            elif trial.state != TrialState.RUNNING:
                continue
            known = params(trial, study)
            self._rows[number] = [
                d.to_internal_repr(known[k]) if k in known else np.nan for k, d in self._space.items()
            ]

    def split(self, study: Study, number: int, n_below: int) -> tuple[list[int], NDArray[np.int_]]:
        """Numbers of the best trials, and of the newest others but this one: those that run count among these."""
        if n_below not in self._below:
            n_complete = bisect(self._order, (1,)) if study._is_multi_objective() else 0  # noqa: SLF001
            n_best = min(n_below, n_complete)
            complete = [self._trials[n] for n in self._contenders.numbers(n_best)]
            best = _optunas("sampler._split_complete_trials_multi_objective")(complete, study, n_best)[0]
            rest = self._order[n_complete : n_complete + n_below - n_best]
            self._below[n_below] = sorted([*(trial.number for trial in best), *(row[-1] for row in rest)])
        below = self._below[n_below]
        above = self._ended.copy()
        above[below] = False
        above[[n for n in self._open if n != number and self._trials[n].state == TrialState.RUNNING]] = True
        return below, np.flatnonzero(above)[-MOST_OTHER:]

    def values(self, numbers: list[int] | NDArray[np.int_], names: Mapping[str, object]) -> dict[str, NDArray[Any]]:
        """Of these trials that have all of these hyperparameters."""
        rows = self._rows[numbers][:, [self._columns[name] for name in names]]
        rows = rows[~np.isnan(rows).any(axis=1)]
        return dict(zip(names, rows.T, strict=True))


class Contenders:
    """Complete trials of several objectives that may be among the best so many: fewer than that beat each.

    What beats a trial is in a front before its own. So no other trial is in a front that is needed to find so many, and
    none changes which they are.
    """

    def __init__(self, most: int) -> None:
        """None yet; `most` of them are wanted at a time."""
        self._most = most
        self._numbers = np.empty(0, int)
        self._losses: NDArray[np.float64] | None = None  # (n contenders, n objectives)
        self._n_better = np.empty(0, int)  # of each: how many beat it

    def numbers(self, n_best: int) -> list[int]:
        """Those that may be among so many, ascending, as Optuna's trials are: the first front where that is enough."""
        front = self._n_better == 0
        found = self._numbers[front if front.sum() >= n_best else self._n_better < n_best]
        return sorted(found.tolist())

    def add(self, number: int, losses: NDArray[np.float64]) -> None:
        """One more: it may be none, and may end others' hopes."""
        known = np.empty((0, len(losses))) if self._losses is None else self._losses
        differs = (known != losses).any(axis=1)
        beaten = (losses <= known).all(axis=1) & differs
        n_better = np.append(self._n_better + beaten, ((known <= losses).all(axis=1) & differs).sum())
        left = n_better < self._most
        self._numbers = np.append(self._numbers, number)[left]
        self._losses, self._n_better = np.concatenate([known, losses[None]])[left], n_better[left]


class SpacedTPE(TPESampler):
    """TPE of one objective that is told its space, which it would else find again in all trials at each suggestion."""

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution]) -> None:
        super().__init__(seed=seed)
        # As Optuna finds it: in the order of the names, for they are drawn in turn, and without what cannot vary.
        self._known_space = {name: space[name] for name in sorted(space) if not space[name].single()}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: every trial of a search has all of it. Of several objectives each is drawn by itself."""
        del trial
        return dict(self._known_space) if self._is_multivariate(study) else {}


class RememberingTPE(SpacedTPE):
    """The same suggestions from what is remembered of the trials."""

    def __init__(self, seed: int, space: Mapping[str, BaseDistribution], past: Past) -> None:
        super().__init__(seed, space)
        self._past = past

    def _sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sample(study, trial, search_space) if search_space and self._knows_enough(study) else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401  # as Optuna has it
        """The value of one hyperparameter, by itself."""
        if not self._knows_enough(study):
            return super().sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _knows_enough(self, study: Study) -> bool:
        self._past.catch_up(study, self._get_params)
        return self._past.n_ended >= self._n_startup_trials

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        several = study._is_multi_objective()  # noqa: SLF001
        gamma = _optunas("sampler.default_gamma_multiobjective" if several else "sampler.default_gamma")
        n_below = min(gamma(self._past.n_ended), MOST_GOOD)
        below, above = self._past.split(study, trial.number, n_below)
        good, other = self._past.values(below, search_space), self._past.values(above, search_space)
        weights = np.ones(len(next(iter(good.values())))) if several else None
        model, parameters = self._parzen_estimator_cls, self._parzen_estimator_parameters
        mpe_below, mpe_above = model(good, search_space, parameters, weights), model(other, search_space, parameters)
        samples = mpe_below.sample(self._rng.rng, self._n_ei_candidates)
        found = self._compare(samples, self._compute_acquisition_func(samples, mpe_below, mpe_above))
        return {name: d.to_external_repr(found[name]) for name, d in search_space.items()}


def tpe(seed: int, space: Mapping[str, BaseDistribution], past: Past) -> TPESampler:
    """A sampler for the next trial of the study whose trials `past` remembers."""
    return RememberingTPE(seed, space, past) if _is_known() else SpacedTPE(seed, space)


def _losses(trial: FrozenTrial, study: Study) -> NDArray[np.float64]:
    """The objectives of a complete trial, turned so that less is better."""
    return np.array(trial.values) * [-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions]


def _rank(trial: FrozenTrial, study: Study) -> tuple[int, float, float]:
    """Of two ended trials the better one has the lower; equal ones are by number."""
    excess = _optunas("sampler._get_infeasible_trial_score")(trial)
    if excess > 0:
        return 2, excess, 0.0
    if trial.state == TrialState.PRUNED:
        return 1, *_optunas("sampler._get_pruned_trial_score")(trial, study)
    if len(study.directions) > 1:
        return 0, 0.0, 0.0
    value = trial.value or 0.0
    return 0, -value if study.direction == StudyDirection.MAXIMIZE else value, 0.0


@cache
def _is_known() -> bool:
    """Whether Optuna has what is replaced here as it was when this was written."""
    return digest(_REPLACED) in _KNOWN


def digest(names: Iterable[str]) -> str:
    """Of the source of these functions of Optuna's; empty where one is missing."""
    try:
        sources = [inspect.getsource(_optunas(name)) for name in names]
    except (ImportError, AttributeError, OSError, TypeError):
        return ""
    return sha256("".join(sources).encode()).hexdigest()[:16]


def _optunas(name: str) -> Any:  # noqa: ANN401  # a function, or what is in a module
    module, *path = name.split(".")
    return reduce(getattr, path, import_module(_OPTUNAS + module))
