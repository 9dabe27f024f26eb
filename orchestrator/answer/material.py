"""What a report is made of: the records of a plan's runs, sorted by setting and regime, with resampled figures.

Notation: a setting is a method with its parameters, scope and kind of threshold; it has one run for each regime,
category and repeat. Figures are means over the repeats; pictures and curves are of the first.

What is called a lead, or chosen, was chosen on the validation part: no test figure chooses anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.answer import answer_of
from adloc.answer.axes import at_base
from adloc.answer.comparisons import mean_interval
from adloc.answer.finding import ERROR_RATES, Finding, Setting
from adloc.answer.labels import key_of, labels_of
from adloc.answer.operating import mean_share
from adloc.answer.results import mean, over_categories
from adloc.metrics.registry import METRICS
from adloc.study_file.conditions import is_base
from adloc.study_file.regimes import CLEAN, REGIMES, SHIFT, evaluated_in
from adloc.uncertainty.resampling import N_RESAMPLES, Interval, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from adloc.answer.answer import Answer
    from adloc.answer.results import Row
    from adloc.planning.plan import Plan
    from adloc.record.records import Records, RunRecord
    from adloc.study_file.regimes import Regime

REGIME_TITLES: dict[str, str] = {name: name.replace("_", " ") for name in REGIMES}
MANY_RUNS = 200  # above this, fewer resamples of pixels: 1,000 runs must not take minutes
MOST_LEADS = 6
MOST_SHOWN = (
    600  # rows, of a setting in a regime and category: intervals of thousands take minutes, and nobody reads them
)
CHOSEN_BY = "val_image_auroc"  # of the first regime


@dataclass(frozen=True, eq=False)
class Material:
    """All that has been found so far.

    Attributes:
        plan: of the study.
        tables: gives all of them, which are made when they are first asked for.
        records: every current record, failed ones included.
        findings: the runs that are done.
        settings: in the order of the study file.
        conditioned: runs that are done and stand elsewhere than the base on some axis of the study.
        domain: what the shifted regimes are of here: "shift" when simulated, else a target of the study.
    """

    plan: Plan
    tables: Callable[[], Answer]
    records: tuple[RunRecord, ...]
    findings: tuple[Finding, ...]
    settings: tuple[Setting, ...]
    conditioned: tuple[Finding, ...] = ()
    domain: str = SHIFT

    @cached_property
    def answer(self) -> Answer:
        """The tables of the base alone."""
        return at_base(self.tables(), self.plan.spec, self.domain)

    @property
    def rows(self) -> Sequence[Row]:
        """The results of all conditions."""
        return self.tables().rows

    @property
    def axis_drops(self) -> Sequence[Row]:
        """What each condition of a shifted regime loses against clean."""
        return self.tables().regime_drops

    @property
    def shifted(self) -> str:
        """The domain in words: "shifted" when it is simulated, else its name."""
        return "shifted" if self.domain == SHIFT else self.domain

    @property
    def domains(self) -> tuple[str, ...]:
        """Every domain that the study shifts to, the base first."""
        return self.plan.spec.shift.domains

    def at(self, domain: str) -> Material:
        """The same material with the shifted regimes in another domain of the study; clean runs are those of all."""
        if domain == self.domain:
            return self
        spec = self.plan.spec
        findings: list[Finding] = []
        others: list[Finding] = []
        for finding in (*self.findings, *self.conditioned):
            regime: Regime = finding.record.regime  # type: ignore[assignment]  # a record may be of any version
            there = is_base(finding.record.condition, spec, regime, domain)
            (findings if there else others).append(finding)
        return replace(self, findings=tuple(findings), conditioned=tuple(others), domain=domain)

    def each_domain(self) -> Iterator[Material]:
        """The material of this domain, then of every other that the study shifts to and has runs in."""
        yield self
        for domain in self.domains:
            there = self.at(domain)
            if domain != self.domain and any(f.record.domain == domain for f in there.findings):
                yield there

    @cached_property
    def _index(self) -> dict[tuple[str, str, str, int], Finding]:
        return {(f.setting.key, f.record.regime, f.record.category, f.record.repeat): f for f in self.findings}

    def get(self, setting: Setting, regime: str, category: str, repeat: int = 0) -> Finding | None:
        """The run, if it is done."""
        return self._index.get((setting.key, regime, category, repeat))

    @cached_property
    def regimes(self) -> tuple[str, ...]:
        """Those with a finding, in the order of the protocol."""
        there = {f.record.regime for f in self.findings}
        return tuple(r for r in REGIME_TITLES if r in there)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those with a finding, in the order of the plan."""
        return tuple(dict.fromkeys(f.record.category for f in self.findings))

    def row(self, setting: Setting, regime: str, repeat: int = 0) -> dict[str, Finding]:
        """A repeat's findings by category; empty unless every category of the plan has one."""
        key = (setting.key, regime, repeat)
        if key not in self._rows:
            found = {c: f for c in self.plan.parts if (f := self.get(setting, regime, c, repeat)) is not None}
            self._rows[key] = found if len(found) == len(self.plan.parts) else {}
        return self._rows[key]

    @cached_property
    def _rows(self) -> dict[tuple[str, str, int], dict[str, Finding]]:
        return {}

    def by_repeat(self, setting: Setting, regime: str) -> list[dict[str, Finding]]:
        """The complete rows, one a repeat."""
        found = (self.row(setting, regime, repeat) for repeat in range(self.plan.spec.repeats))
        return [row for row in found if row]

    def values(self, setting: Setting, regime: str, metric: str, category: str | None = None) -> list[float]:
        """The figure of every repeat: of a category, or of all (see `over_categories`); none where a run lacks it."""
        found = []
        for row in self.by_repeat(setting, regime) if category is None else self._of(setting, regime, category):
            known = [f.record.metrics.get(metric) for f in row.values()]
            if None in known:
                return []
            found.append(over_categories(metric, [v for v in known if v is not None], setting.scope))
        return found

    def value(self, setting: Setting, regime: str, metric: str, category: str | None = None) -> float:
        """The mean over repeats: of a category, or of the average over them; nan where a run lacks it."""
        found = self.values(setting, regime, metric, category)
        return mean(found) if found else math.nan

    def macro(self, setting: Setting, regime: str, metric: str) -> float:
        """The mean over categories and repeats; nan where one lacks it."""
        return self.value(setting, regime, metric)

    def interval(self, setting: Setting, regime: str, metric: str, category: str | None = None) -> Interval:
        """Of `value`: over the repeats by t where there are several, else by resampling the test images.

        Of an error rate the exact one, or what its mean over categories has at least (see `mean_share`).
        """
        if self.plan.spec.repeats > 1:
            return mean_interval(self.values(setting, regime, metric, category), METRICS[metric])
        if category is None and len(self.plan.parts) > 1:
            if metric in ERROR_RATES and not math.isnan(value := self.macro(setting, regime, metric)):
                labels = [f.test.labels for f in self.row(setting, regime).values()]
                return mean_share(value, [int((a if metric == "image_fnr" else ~a).sum()) for a in labels])
            return percentile_interval(self.macro_replicates(setting, regime, metric), self.n_images(setting, regime))
        finding = self.get(setting, regime, category or next(iter(self.plan.parts)))
        return finding.interval(metric) if finding else Interval(math.nan, math.nan)

    def macro_replicates(self, setting: Setting, regime: str, metric: str) -> NDArray[np.float32]:
        """The first repeat's macro figure in every resample, categories drawn apart; empty where there is none."""
        key = (setting.key, regime, metric)
        if key not in self._macros:
            row = self.row(setting, regime).values()
            arrays = [f.replicates[metric] for f in row if metric in f.replicates]
            n = min((len(a) for a in arrays), default=0)
            whole = len(arrays) == len(row) and n > 0
            self._macros[key] = np.mean([a[:n] for a in arrays], axis=0) if whole else np.zeros(0, np.float32)
        return self._macros[key]

    @cached_property
    def _macros(self) -> dict[tuple[str, str, str], NDArray[np.float32]]:
        return {}

    def _of(self, setting: Setting, regime: str, category: str) -> list[dict[str, Finding]]:
        found = (self.get(setting, regime, category, repeat) for repeat in range(self.plan.spec.repeats))
        return [{category: f} for f in found if f is not None]

    def n_images(self, setting: Setting, regime: str) -> int:
        """Test images of the rarer class in all categories together."""
        labels = [f.test.labels for f in self.row(setting, regime).values()]
        return int(min(sum(a.sum() for a in labels), sum((~a).sum() for a in labels)))

    @cached_property
    def leads(self) -> tuple[Setting, ...]:
        """One setting for each method, scope and kind of threshold, chosen on the validation part (see `choose`)."""
        kinds: dict[tuple[str, str, str], list[Setting]] = {}
        for setting in self.settings:
            kinds.setdefault((setting.method, setting.scope, setting.threshold_scope), []).append(setting)
        return tuple(self.choose(settings) for settings in kinds.values())[:MOST_LEADS]

    @cached_property
    def shown(self) -> tuple[Setting, ...]:
        """The settings that are shown and compared one by one, in the order of the study file.

        All, as long as their runs are no more than MOST_SHOWN; else the leads, and the best on the validation part.
        """
        per_setting = max(1, len(self.regimes) * (len(self.plan.parts) + 1))
        n_shown = max(len(self.leads), MOST_SHOWN // per_setting)
        if len(self.settings) <= n_shown:
            return self.settings

        def rank(setting: Setting) -> tuple[bool, float]:
            figure = self.validated(setting)
            return setting not in self.leads, math.inf if math.isnan(figure) else -figure

        best = set(sorted(self.settings, key=rank)[:n_shown])
        return tuple(s for s in self.settings if s in best)

    @cached_property
    def by_params(self) -> dict[str, Setting]:
        """By `Setting.alike` of its parameters: each setting; the first in the study file of those that are alike."""
        found: dict[str, Setting] = {}
        for setting in self.settings:
            found.setdefault(setting.alike(setting.params), setting)
        return found

    @cached_property
    def chosen(self) -> Setting | None:
        """The lead with the best validation figure; None where nothing was validated, or there is nothing."""
        validated = [s for s in self.leads if not math.isnan(self.validated(s))]
        return self.choose(validated) if validated else None

    def choose(self, settings: Sequence[Setting]) -> Setting:
        """The best on the validation part; the smallest model among equals, then the first in the study file.

        Where nothing was validated the first in the study file: no test figure chooses.
        """

        def rank(setting: Setting) -> tuple[float, float]:
            figure, size = self.validated(setting), self.macro(setting, self.first_regime(setting), "model_mb")
            return (math.inf if math.isnan(figure) else -figure, 0.0 if math.isnan(size) else size)

        if all(math.isnan(self.validated(s)) for s in settings):
            return settings[0]
        return min(settings, key=rank)  # the first among equals

    def validated(self, setting: Setting) -> float:
        """What a setting is chosen by: its macro validation image AUROC in the first regime that it has."""
        if setting not in self._validated:
            self._validated[setting] = self.macro(setting, self.first_regime(setting), CHOSEN_BY)
        return self._validated[setting]

    @cached_property
    def _validated(self) -> dict[Setting, float]:
        return {}

    def first_regime(self, setting: Setting) -> str:
        """The first regime in which every category has a finding; "" without one."""
        return next((r for r in self.regimes if self.row(setting, r)), "")

    def lines(self, settings: Iterable[Setting]) -> Iterator[tuple[Setting, str]]:
        """Settings with each of their regimes."""
        for setting in settings:
            for regime in self.regimes:
                if any(self.get(setting, regime, c) for c in self.categories):
                    yield setting, regime

    @cached_property
    def swept(self) -> dict[str, dict[str, list[float]]]:
        """By method: parameters that take several numbers in this study, with their values, ascending."""
        found: dict[str, dict[str, list[float]]] = {}
        for method in dict.fromkeys(s.method for s in self.settings):
            of_method = [s.params for s in self.settings if s.method == method]
            for name in of_method[0]:
                values = [number(p.get(name)) for p in of_method]
                distinct = sorted({v for v in values if v is not None})
                if len(distinct) > 1 and None not in values:
                    found.setdefault(method, {})[name] = distinct
        return found


def gather(plan: Plan, records: Records, current: Sequence[RunRecord]) -> Material:
    """Sort the current records of a plan; nothing but record.json is read before it is needed."""
    swept = {name for entry in plan.spec.methods for name in entry.grid}
    settings: dict[str, Setting] = {}
    findings: list[Finding] = []
    conditioned: list[Finding] = []
    base = {run.run_id for run in plan.runs if run.base}
    draws: dict[tuple[int, int], NDArray[np.float32]] = {}
    done = [r for r in current if r.status == "done"]
    n_resamples = N_RESAMPLES if len(done) <= MANY_RUNS else N_RESAMPLES // 5
    labels = labels_of(current)
    for record, (model, label) in zip(current, labels, strict=True):
        if record.status != "done":
            continue
        # what was tuned for each category by itself has other parameters in each, and is one setting all the same
        key = key_of(record, {k: record.params.get(k) for k in swept}) if record.setting else model
        if key not in settings:
            settings[key] = Setting(
                key, record.method, label, record.params, record.scope, record.threshold_scope, len(settings)
            )
        path = records.path(record.run_id)
        found = Finding(record, settings[key], path, n_resamples, plan.spec.seed, draws)
        (findings if record.run_id in base else conditioned).append(found)
    settled = tuple(settings.values())
    tables = cache(lambda: answer_of(plan, current, records))
    return Material(
        plan, tables, tuple(current), tuple(findings), settled, tuple(conditioned), plan.spec.shift.domains[0]
    )


def regime_title(regime: str, domain: str) -> str:
    """The regime, and the real domain that it is evaluated in.

    Example:
        >>> regime_title("no_adaptation", "new_camera"), regime_title("no_adaptation", "shift")
        ('no adaptation, new_camera', 'no adaptation')
    """
    title = REGIME_TITLES[regime]
    return title if evaluated_in(regime) == CLEAN or domain == SHIFT else f"{title}, {domain}"


def title_of(metric: str) -> str:
    """For the head of a column or an axis."""
    return METRICS[metric].title


def number(value: object) -> float | None:
    """A parameter's value as a number; an image size of one side counts."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
