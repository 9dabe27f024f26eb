"""One search: a method with a space, for all categories or for one. A study may have several. Pure."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adloc.methods import find_method
from adloc.metrics.registry import METRICS
from adloc.study_file.tuning_checks import default_value
from adloc.study_file.variants import TUNED, Variant, Winner, combinations, make_variant
from adloc.tuning.best import Best

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adloc.datasets.transform import ImageConfig
    from adloc.planning.calibration import Calibration
    from adloc.study_file.spec import MethodEntry, StudySpec
    from adloc.study_file.tuning import Dimension, TuningConfig
    from adloc.tuning.trial_records import TrialRecord


@dataclass(frozen=True)
class Search:
    """What is searched, and what it is searched with.

    Attributes:
        study: name of the study.
        name: unique in the study: "patchcore", "padim-n_features=50-carpet-repeat1".
        entry: the method's entry in the study, which is number `index`.
        combination: number of the grid's combination, whose values, with the params, are `fixed`.
        repeat: whose parts are used.
        category: None for one setting for all categories.
        pooled: fit one model on all categories, as a study of nothing but the unified scope does.
        space: dimensions by hyperparameter.
        first: the untuned values of the space, the first trial.
        config: metric, trials, sampler.
        image: the study's preprocessing.
    """

    study: str
    name: str
    index: int
    entry: MethodEntry
    combination: int
    fixed: dict[str, Any]
    repeat: int
    category: str | None
    pooled: bool
    space: Mapping[str, Dimension]
    first: dict[str, Any]
    config: TuningConfig
    image: ImageConfig

    @property
    def seed(self) -> int:
        """Of the suggestions."""
        return self.config.seed + self.repeat

    @property
    def higher_is_better(self) -> tuple[bool, ...]:
        """By objective."""
        return tuple(METRICS[name].better == "higher" for name in self.config.objectives)

    def variant(self, values: Mapping[str, Any]) -> Variant:
        """The method with these values of the space.

        Raises:
            ValidationError: they do not fit together.
        """
        return make_variant(self.entry, self.fixed | dict(values), self.image)

    def networks(self) -> list[Variant]:
        """A variant of each network that a trial may use."""
        choices = {k: self.space[k].choices or () for k in ("backbone", "weights") if k in self.space}
        return [
            self.variant(self.first | dict(zip(choices, values, strict=True)))
            for values in itertools.product(*choices.values())
        ]

    def layers(self) -> tuple[str, ...]:
        """Every layer that a trial may read, so that an image passes the backbone once for all of them."""
        dimension = self.space.get("layers")
        if dimension is None or dimension.choices is None:
            return ()
        return tuple(sorted({str(layer) for choice in dimension.choices for layer in _items(choice)}))

    def fingerprint(self, categories: Iterable[str], facts: Mapping[str, object]) -> dict[str, Any]:
        """All that the figures of its trials and their sequence depend on, as plain values.

        Args:
            categories: those that are tuned.
            facts: see `TrialStages.facts`.
        """
        config = self.config.model_dump(mode="json", exclude={"trials", "timeout_s", "metric"})
        return {
            "metric": list(self.config.objectives),
            "direction": ["higher" if up else "lower" for up in self.higher_is_better],
            "space": {k: v.model_dump(mode="json", exclude_defaults=True) for k, v in self.space.items()},
            "start": self.first,
            "params": {k: v for k, v in self.fixed.items() if k != "weights"},  # a path: `facts` has their hash
            "image": self.image.model_dump(mode="json"),
            "categories": list(categories),
            **{f"tuning.{k}": v for k, v in config.items()},
            "seed of the repeat": self.seed,
            **facts,
        }

    def mine(self, calibration: Mapping[str, Calibration]) -> dict[str, Calibration]:
        """Of these categories, those that are tuned here."""
        return {c: k for c, k in calibration.items() if self.category in (None, c)}

    def is_done(self, records: Sequence[TrialRecord]) -> bool:
        """Whether no further trial is begun: their number is reached, or their time is up."""
        limit = self.config.timeout_s
        late = limit is not None and sum(r.seconds for r in records) >= limit
        return len(records) >= self.config.trials or (late and bool(records))

    def best(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The best trial that keeps the constraints; for several objectives the Pareto set: see `Best`."""
        return Best(self.is_feasible, self.gains).of(records)

    def course(self, records: Sequence[TrialRecord], name: str, *, higher: bool) -> list[tuple[int, float]]:
        """By trial: the best figure so far, of those that keep the constraints."""
        pick = max if higher else min
        found: list[tuple[int, float]] = []
        for record in records:
            value = record.figures.get(name)
            if record.state == "complete" and value is not None and self.is_feasible(record):
                found.append((record.number, pick(value, found[-1][1]) if found else value))
        return found

    def is_feasible(self, record: TrialRecord) -> bool:
        """Whether a trial keeps every constraint in every category: each has a model of its own."""
        return all(excess <= 0 for excess in self.excess(record).values())

    def excess(self, record: TrialRecord) -> dict[str, float]:
        """By constraint: how far the worst category is above the limit; at most 0 is kept."""
        found: dict[str, float] = {}
        for name, limit in self.config.constraints.limits().items():
            values = [v for figures in record.categories.values() if (v := figures.get(name)) is not None]
            if values:
                found[name] = max(values) - limit
        return found

    def gains(self, record: TrialRecord) -> tuple[float, ...]:
        """The objectives of a complete trial, turned so that more is better."""
        values = (float(record.figures[name] or 0.0) for name in self.config.objectives)
        return tuple(v if up else -v for v, up in zip(values, self.higher_is_better, strict=True))

    def winners(self, records: Sequence[TrialRecord]) -> list[Winner]:
        """What the plan adds beside the default once the search is done; nothing when no trial is feasible.

        Nothing either while the default's own trial waits to be tried again: what is better than it is not known.
        Members of a Pareto set are named by trial, and by category and repeat where each has a search of its own:
        they are different settings, of which no average is to be made.
        """
        if not self.is_done(records) or records[0].transient:
            return []
        own = [self.category or "", f"repeat{self.repeat}" if self.repeat else ""]
        single = len(self.config.objectives) == 1

        def name(record: TrialRecord) -> str:
            return TUNED if single else "_".join([TUNED, *filter(None, own), str(record.number)])

        return [
            Winner(self.index, self.combination, self.repeat, self.category, name(record), record.params)
            for record in self.best(records)
        ]


def searches(spec: StudySpec, categories: Sequence[str]) -> list[Search]:
    """Every search of a study, in the order in which they run."""
    found: list[Search] = []
    names: dict[str, int] = {}
    wanted = [None] if spec.tuning.across == "macro" else sorted(categories)
    for repeat in range(spec.repeats):
        for index, entry in enumerate(spec.methods):
            if entry.tune is None:
                continue
            method = find_method(entry.method)
            for number, fixed in enumerate(combinations(entry)):
                space = entry.tune.dimensions(method, fixed)
                first = {k: entry.tune.start.get(k, default_value(method, k, spec)) for k in space}
                for category in wanted:
                    varied = [f"{k}={_text(fixed[k])}" for k in entry.grid]
                    parts = [method.name, *varied, category or "", f"repeat{repeat}" if repeat else ""]
                    name = re.sub(r"[^\w.=-]", "_", "-".join(p for p in parts if p))
                    names[name] = names.get(name, 0) + 1
                    found.append(
                        Search(
                            spec.study, name if names[name] == 1 else f"{name}-{names[name]}", index, entry, number,
                            fixed, repeat, category, "category" not in spec.scopes, space, _plain(first),
                            spec.tuning, spec.image,
                        )
                    )  # fmt: skip
    return found


def possible(spec: StudySpec) -> list[Variant]:
    """A variant of each network that a trial may use, to find its weights before any work."""
    return [variant for search in searches(spec, ["any"]) for variant in search.networks()]


def _items(choice: object) -> Sequence[object]:
    return choice if isinstance(choice, list | tuple) else [choice]


def _text(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
