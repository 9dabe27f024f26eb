"""TPE that remembers the trials suggests what Optuna's does, to the bit, whatever the trials are, as long as it may."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from adloc.tuning import tpe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

SPACE: dict[str, BaseDistribution] = {
    "ratio": FloatDistribution(0.01, 0.25, log=True),
    "sigma": FloatDistribution(0, 8),
    "neighbours": IntDistribution(1, 9),
    "epochs": IntDistribution(5, 40, log=True),
    "layers": CategoricalDistribution(["layer2", "layer3", "layer2-layer3"]),
    "seed": IntDistribution(3, 3),
}
LAST = 250  # ended and running trials up to which all is Optuna's: a tenth of them are the best, 225 the others
WIDEST = {f"x{i}": FloatDistribution(0, 1) for i in range(9)}


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What is known of Optuna is found anew after a test that changes it."""
    yield
    tpe._is_known.cache_clear()


def ended(trial: optuna.Trial, study: optuna.Study, draw: random.Random, mess: float) -> None:
    """A made-up objective, rounded so that trials tie; some fail, are pruned, or break a constraint."""
    score = round(sum(float(v) for v in trial.params.values() if not isinstance(v, str)) % 7, 1)
    if draw.random() < mess:
        trial.set_constraint("model_mb", round(draw.uniform(mess - 1, 1), 1))
        trial.set_constraint("score_ms", round(draw.uniform(-2, 1), 1))
    several = len(study.directions) > 1
    if draw.random() >= mess:
        study.tell(trial, [score, round(draw.random(), 1)] if several else score)
        return
    if not several and draw.random() < 0.7:
        trial.report(draw.choice([score, float("nan")]), draw.randrange(3))
    study.tell(trial, state=draw.choice([TrialState.FAIL, TrialState.PRUNED]) if not several else TrialState.FAIL)


def asked(
    sampler: Callable[[int], TPESampler],
    space: dict[str, BaseDistribution],
    directions: list[str],
    mess: float,
    n_trials: int,
    beside: int = 1,
    history: Sequence[FrozenTrial] = (),
) -> list[dict[str, Any]]:
    """The suggestions of a sampler made anew for each trial, `beside` trials at a time that end in any order."""
    study = optuna.create_study(directions=directions)
    study.add_trials(history)
    draw, running, found = random.Random(1), [], []  # noqa: S311
    for number in range(n_trials):
        study.sampler = sampler(number)
        running.append(study.ask(space))
        found.append(dict(running[-1].params))
        if len(running) >= beside:
            ended(running.pop(draw.randrange(len(running))), study, draw, mess)
    return found


@pytest.mark.parametrize(
    ("space", "directions", "mess", "n_trials", "beside"),
    [
        pytest.param(SPACE, ["maximize"], 0.0, 40, 1, id="one"),
        pytest.param(SPACE, ["minimize"], 0.4, 40, 3, id="one-of-every-state"),
        pytest.param(SPACE, ["maximize"], 1.0, 40, 4, id="none-complete"),
        pytest.param(WIDEST, ["maximize"], 0.2, 20, 1, id="wide"),
        pytest.param(SPACE, ["maximize", "minimize"], 0.0, 30, 1, id="two"),
        pytest.param(SPACE, ["maximize", "maximize"], 0.4, 30, 3, id="two-of-every-state"),
        pytest.param({"layers": SPACE["layers"]}, ["maximize"], 0.1, 40, 2, id="choices-alone"),
    ],
)
def test_remembering_suggests_what_optuna_does(
    space: dict[str, BaseDistribution], directions: list[str], mess: float, n_trials: int, beside: int
) -> None:
    """To the bit: for ties, constraints, pruned, failed and running trials, of one objective and of several."""
    past = tpe.Past(space)
    assert isinstance(tpe.tpe(0, space, past), tpe.RememberingTPE)
    kept = asked(lambda seed: tpe.tpe(seed, space, past), space, directions, mess, n_trials, beside)
    plain = asked(lambda seed: TPESampler(seed=seed), space, directions, mess, n_trials, beside)
    assert kept == plain
    assert past.n_ended >= 10  # else all was drawn at random


ONE_AND_TWO = pytest.mark.parametrize("directions", [["maximize"], ["minimize", "maximize"]], ids=["one", "two"])


def long_ago(n_trials: int, directions: list[str]) -> list[FrozenTrial]:
    """Ended trials of random settings."""
    draw = np.random.default_rng(0)
    random_sampler = optuna.samplers.RandomSampler(seed=0)
    return [
        create_trial(
            params={k: random_sampler.sample_independent(None, None, k, d) for k, d in SPACE.items()},  # type: ignore[arg-type]
            distributions=SPACE,
            values=draw.random(len(directions)).round(2).tolist(),
        )
        for _ in range(n_trials)
    ]


@ONE_AND_TWO
def test_resumed_study_goes_on_with_the_same_suggestions(directions: list[str]) -> None:
    """Hundreds of trials that are read at once, and those that are added: the weights of many, up to the last."""
    history = long_ago(LAST - 4, directions)

    def suggested(sampler: Callable[[int], TPESampler]) -> list[dict[str, Any]]:
        study, found = optuna.create_study(directions=directions), []
        study.add_trials(history)
        for number in range(5):
            study.sampler = sampler(number)
            found.append(dict(study.ask(SPACE).params))
        return found

    past = tpe.Past(SPACE)
    plain = suggested(lambda seed: TPESampler(seed=seed))
    assert suggested(lambda seed: tpe.tpe(seed, SPACE, past)) == plain
    assert suggested(lambda seed: tpe.tpe(seed, SPACE, tpe.Past(SPACE))) == plain


@ONE_AND_TWO
def test_mixtures_of_many_trials_have_no_more_kernels(directions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So a suggestion takes no longer at trial 2,000; of the trials that are not among the best the newest count."""
    from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator

    sizes: set[int] = set()
    read = _ParzenEstimator.__init__

    def counted(self: Any, observations: dict[str, Any], *given: Any) -> None:
        sizes.update(len(values) for values in observations.values())
        read(self, observations, *given)

    monkeypatch.setattr(_ParzenEstimator, "__init__", counted)
    history = long_ago(1100, directions)
    for n_ended, n_best in ((LAST, 25), (1100, 25 if len(directions) == 1 else 100)):
        sizes.clear()
        study = optuna.create_study(directions=directions)
        study.add_trials(history[:n_ended])
        study.sampler = tpe.tpe(0, SPACE, tpe.Past(SPACE))
        study.ask(SPACE)
        assert sizes == {n_best, tpe.MOST_OTHER}


@ONE_AND_TWO
def test_study_of_many_trials_is_the_same_remembered_or_read_anew(directions: list[str]) -> None:
    """Beyond what Optuna suggests too: trials that run, fail, are pruned or break a constraint, in between."""
    history = long_ago(300, directions)

    def suggested(sampler: Callable[[int], TPESampler]) -> list[dict[str, Any]]:
        return asked(sampler, SPACE, directions, 0.4, 40, 3, history)

    past = tpe.Past(SPACE)
    kept = suggested(lambda seed: tpe.tpe(seed, SPACE, past))
    assert kept == suggested(lambda seed: tpe.tpe(seed, SPACE, tpe.Past(SPACE)))
    assert past.n_ended > LAST


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=26, max_size=90), st.integers(1, 25))
def test_contenders_hold_the_best_of_all(found: list[tuple[int, int]], n_best: int) -> None:
    """Optuna picks the same ones among them as among all trials."""
    from optuna.samplers._tpe import sampler

    study = optuna.create_study(directions=["minimize", "minimize"])
    study.add_trials([create_trial(values=list(map(float, values))) for values in found])
    contenders, every = tpe.Contenders(25), study.get_trials(deepcopy=False)
    for trial in every:
        contenders.add(trial.number, np.array(trial.values))
    kept = [every[number] for number in contenders.numbers(n_best)]
    assert (
        sampler._split_complete_trials_multi_objective(kept, study, n_best)[0]
        == (sampler._split_complete_trials_multi_objective(every, study, n_best)[0])
    )


def test_trials_without_a_hyperparameter_are_left_out() -> None:
    """As Optuna leaves them out; of all other hyperparameters they count."""
    draw = random.Random(0)  # noqa: S311

    def suggested(sampler: TPESampler) -> dict[str, Any]:
        study = optuna.create_study(sampler=sampler)
        for number in range(40):
            names = [name for name in SPACE if number % 3 or name != "sigma"]
            params = {name: optuna.samplers.RandomSampler(number).sample_independent(None, None, name, SPACE[name])
                      for name in names}  # fmt: skip
            state = TrialState.RUNNING if number in (7, 39) else TrialState.COMPLETE
            values = {"value": draw.random()} if state == TrialState.COMPLETE else {}
            own = {name: SPACE[name] for name in names}
            study.add_trial(create_trial(state=state, params=params, distributions=own, **values))
        return dict(study.ask(SPACE).params)

    found = suggested(tpe.tpe(5, SPACE, tpe.Past(SPACE)))
    draw.seed(0)
    assert found == suggested(tpe.SpacedTPE(5, SPACE))


@pytest.mark.parametrize("change", ["other", "gone"])
def test_other_optuna_suggests_by_itself(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A version that splits trials differently, or has no such function: its own sampler, and its own suggestions."""
    from optuna.samplers._tpe import sampler

    tpe._is_known.cache_clear()
    if change == "gone":
        monkeypatch.delattr(sampler.TPESampler, "_get_params")
    else:
        split = sampler._split_trials
        monkeypatch.setattr(sampler, "_split_trials", lambda *given: split(*given)[::-1])
    assert type(tpe.tpe(0, SPACE, tpe.Past(SPACE))) is tpe.SpacedTPE
    if change == "other":
        kept = asked(lambda seed: tpe.tpe(seed, SPACE, tpe.Past(SPACE)), SPACE, ["maximize"], 0.0, 15)
        assert kept == asked(lambda seed: TPESampler(seed=seed), SPACE, ["maximize"], 0.0, 15)
