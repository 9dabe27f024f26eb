"""What `drift.py` measures, from simulated streams and from the scores of real ones."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.drift.advice import Known, advise
from adloc.drift.martingale import Martingales
from adloc.drift.monitor import SLACK, Monitor, Reference
from adloc.metrics.classification import confusion
from adloc.metrics.ranking import auroc
from adloc.study_file.regimes import CLEAN, REGIMES, SHIFT
from adloc.thresholds import largest_f1

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from drift_images import Domain, Scored
    from numpy.typing import NDArray

    from adloc.drift.monitor import Alarm
    from adloc.study_file.regimes import Regime

    Scores = Callable[[str], Mapping[str, Scored]]
    Values = NDArray[np.float64]
    Part = tuple[NDArray[np.int64], NDArray[np.int64]]

TEXTURES = ("brick", "grass", "gravel")  # on the first two the constants of the advice were chosen
REAL = ("bottle", "commutator")  # on which it is told how good they are
N_REFERENCE = 56  # normal validation images
WORTH = 0.05  # of F1
REFERENCES = (12, 56, 299)
LEVELS = (0.1, 0.05, 0.01)


def false_alarms(_scores: Scores, n_streams: int = 200, n_images: int = 10_000) -> list[dict[str, Any]]:
    """Share of unchanged Gaussian streams with an alarm, of one statistic, by what was promised.

    The streams are the statistics of one watch, which rules them apart; with defects, 1 % of the images lie 10
    standard deviations out, on a side that each stream has for itself, and prevalence is 0.01.
    """
    rows: list[dict[str, Any]] = []
    for n_reference in REFERENCES:
        for prevalence in (0.0, 0.01):
            rng = np.random.default_rng([n_reference, int(100 * prevalence)])
            reference, sides = rng.normal(size=(n_reference, n_streams)), rng.choice([-10, 10], n_streams)
            watched = Martingales(reference, prevalence=prevalence, slack=SLACK * min(LEVELS), seed=0)
            largest = np.zeros(n_streams)
            for _ in range(n_images):
                values = rng.normal(size=n_streams)
                largest = np.maximum(largest, watched.observe(values + sides * (rng.random(n_streams) < prevalence)))
            spent = 1 - SLACK if prevalence else 1.0
            shares = {f"{level:g}": float((largest >= -math.log(level * spent)).mean()) for level in LEVELS}
            rows.append({"n_reference": n_reference, "defects": prevalence, "n_streams": n_streams, "alarms": shares})
    return rows


def delays(scores: Scores, trials: int = 20) -> list[dict[str, Any]]:
    """Images from the change to the alarm, on bottle and commutator, with the default settings of a monitor.

    In each trial 56 of the images that were not fitted on are the reference; the others are the stream in a random
    order, clean ones once before the change and both draws of the shift after it. At severity 0 nothing changes.
    """
    rows: list[dict[str, Any]] = []
    for category in REAL:
        for method, scored in scores(category).items():
            clean = scored.by_severity[0.0].normal[0]
            for severity, domain in scored.by_severity.items():
                for n_before in (0, min(200, len(clean) - N_REFERENCE)):
                    found = [_watch(scored.names, clean, domain.normal, n_before, seed) for seed in range(trials)]
                    rows.append(
                        {"category": category, "method": method, "severity": severity, "clean_before": n_before}
                        | _summary(found, n_before)
                    )
    return rows


def _stream(clean: Values, shifted: Values, n_before: int, seed: int) -> tuple[Values, Values]:
    """(reference, stream): (n0, S) and (n, S)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clean))
    chosen, others = order[:N_REFERENCE], order[N_REFERENCE:]
    after = shifted[:, others].reshape(-1, clean.shape[1])
    if len(shifted) == 1:  # clean images, of which none may come twice
        return clean[chosen], clean[others]
    return clean[chosen], np.concatenate([clean[others[:n_before]], rng.permutation(after)])


def _watch(names: tuple[str, ...], clean: Values, shifted: Values, n_before: int, seed: int) -> Alarm | None:
    """The alarm of one trial."""
    reference, stream = _stream(clean, shifted, n_before, seed)
    monitor = Monitor(Reference(names, reference), seed=seed)
    return next((state.alarm for values in stream if (state := monitor.observe(values)).alarm), None)


def _summary(found: Sequence[Alarm | None], n_before: int) -> dict[str, Any]:
    """Shares and quantiles; an alarm before the change is a false one, and a trial without an alarm never ends."""
    late = [math.inf if a is None else a.image - n_before for a in found if a is None or a.image > n_before]
    named = Counter(a.statistic for a in found if a is not None)
    quantiles = {q: float(np.quantile(late, share, method="higher")) for q, share in (("median", 0.5), ("p90", 0.9))}
    return {
        "trials": len(found),
        "alarms": sum(a is not None for a in found),
        "before_the_change": len(found) - len(late),
        **{name: None if math.isinf(value) else value for name, value in quantiles.items()},
        "statistics": dict(named.most_common(3)),
    }


def advice(scores: Scores, trials: int = 20) -> list[dict[str, Any]]:
    """The advice against what the regimes say, by category, method and severity.

    Half of what was held out and 30 % of the defects are validation, the rest tells, in two ways (see `_right`). The
    advice is asked for 50 images after the alarm, without and with the regimes' F1 on the validation images at severity
    1; without an alarm in the stream it is "fine".
    """
    rows: list[dict[str, Any]] = []
    for category in (*TEXTURES, *REAL):
        for method, scored in scores(category).items():
            for severity in scored.by_severity:
                tried = [_advise(scored, severity, seed) for seed in range(trials)]
                told = {name: _mean([t.told[name] for t in tried]) for name in REGIMES}
                right = {by: _right(told, by) for by in ("f1", "rates")}
                given = {name: Counter(getattr(t, name) for t in tried) for name in ("alone", "taught")}
                rows.append(
                    {
                        "category": category,
                        "method": method,
                        "severity": severity,
                        "f1": {name: round(figures.f1, 3) for name, figures in told.items()},
                        "auroc": {name: round(figures.auroc, 3) for name, figures in told.items()},
                        "right": right,
                        "advice": {name: dict(counts) for name, counts in given.items()},
                        "agrees": {
                            name: {by: counts[verdict] / trials for by, verdict in right.items()}
                            for name, counts in given.items()
                        },
                    }
                )
    return rows


@dataclass(frozen=True)
class Figures:
    """Of a regime on the test images."""

    f1: float
    auroc: float
    recall: float
    false_alarms: float


@dataclass(frozen=True)
class Tried:
    """One trial: figures by regime on the test images, the verdict without the regimes and with them."""

    told: Mapping[Regime, Figures]
    alone: str
    taught: str


def _mean(figures: Sequence[Figures]) -> Figures:
    """Of each figure."""
    return Figures(**{name: float(np.mean([getattr(f, name) for f in figures])) for name in Figures.__annotations__})


def _advise(scored: Scored, severity: float, seed: int) -> Tried:
    """Watch a stream that has changed from its first image, and ask."""
    rng = np.random.default_rng(seed)
    clean, domain, worst = (scored.by_severity[level] for level in (0.0, severity, 1.0))
    normals, defects = rng.permutation(clean.normal.shape[1]), rng.permutation(len(clean.defect_scores))
    n_normals, n_defects = len(normals) // 2, int(0.3 * len(defects))
    validation, test = (normals[:n_normals], defects[:n_defects]), (normals[n_normals:], defects[n_defects:])
    known = Known(
        clean.normal[0, validation[0], 0],
        clean.defect_scores[validation[1]],
        largest_f1(*_part(clean, validation, refitted=False)),
    )
    monitor = Monitor(Reference(scored.names, clean.normal[0, validation[0]]), seed=seed)
    stream = domain.normal[:, test[0]].reshape(-1, len(scored.names))
    end = next((i for i, values in enumerate(stream, start=1) if monitor.observe(values).alarm), len(stream))
    alarm = monitor.state.alarm
    recent = stream[(alarm.since if alarm else 1) - 1 : end + 50, 0]
    regimes = {name: figures.f1 for name, figures in _regimes(clean, worst, validation, validation).items()}
    taught = replace(known, regimes=regimes)
    return Tried(
        _regimes(clean, domain, validation, test),
        advise(alarm, recent, known).verdict,
        advise(alarm, recent, taught).verdict,
    )


def _regimes(clean: Domain, shifted: Domain, validation: Part, test: Part) -> dict[Regime, Figures]:
    """Figures by regime on a part, with thresholds from validation."""
    found: dict[Regime, Figures] = {}
    for name, domains in REGIMES.items():
        refitted = domains.fit == SHIFT
        calibrated = clean if domains.threshold == CLEAN else shifted
        evaluated = clean if domains.evaluation == CLEAN else shifted
        threshold = largest_f1(*_part(calibrated, validation, refitted=refitted))
        scores, labels = _part(evaluated, test, refitted=refitted)
        counted = confusion(scores, labels, threshold)
        found[name] = Figures(
            counted.f1, auroc(scores, labels), counted.recall, float((scores[~labels] >= threshold).mean())
        )
    return found


def _part(domain: Domain, part: Part, *, refitted: bool) -> tuple[Values, NDArray[np.bool_]]:
    """Scores and labels of a part, which holds numbers of normal images and of defects."""
    normal = domain.refitted_normal if refitted else domain.normal[0, :, 0]
    faulty = domain.refitted_defects if refitted else domain.defect_scores
    labels = np.repeat([False, True], [len(part[0]), len(part[1])])
    return np.concatenate([normal[part[0]], faulty[part[1]]]), labels


def _right(told: Mapping[Regime, Figures], by: str) -> str:
    """What should have been advised, where 0.05 is worth doing something.

    By "f1": "fine" where neither a new threshold nor a new fit gains F1, "refit" where a new fit gains it beyond a new
    threshold. About half of the test images are defects, which F1 rewards flagging all of. By "rates": "fine" where the
    old threshold's false alarms and recall are what they were, "refit" where a new fit gains AUROC.
    """
    clean, no, threshold, full = (told[name] for name in REGIMES)
    if by == "f1":
        is_fine = max(threshold.f1, full.f1) - no.f1 <= WORTH
        return "fine" if is_fine else "refit" if full.f1 - threshold.f1 > WORTH else "recalibrate"
    is_fine = no.false_alarms - clean.false_alarms <= WORTH and clean.recall - no.recall <= WORTH
    return "fine" if is_fine else "refit" if full.auroc - no.auroc > WORTH else "recalibrate"


ITEMS: dict[str, Callable[[Scores], Any]] = {"false_alarms": false_alarms, "delays": delays, "advice": advice}
