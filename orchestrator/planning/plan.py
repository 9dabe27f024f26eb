"""The plan of a study: its runs, and the stages that they share. No torch, no clock, and of images only masks.

Masks are looked into where `shift.drop_vanished` asks which defects leave the frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

from adloc.errors import Complaint, UserError
from adloc.keys import canonical, key_of_lists
from adloc.planning.bases import deepen, find_bases
from adloc.planning.places import Place, Places
from adloc.planning.sight import refuse_seen
from adloc.planning.sources import Source, features_among
from adloc.planning.stage_maker import StageMaker
from adloc.planning.study_parts import StudyParts
from adloc.study_file.conditions import Condition
from adloc.study_file.regimes import CLEAN
from adloc.study_file.variants import SETTING, Variant, Winner, variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from adloc.planning.absent import Absent
    from adloc.planning.inventory import Inventory
    from adloc.planning.parts import Part, Parts
    from adloc.planning.stages import (
        DiagnosisStage,
        EvaluationStage,
        SaturationStage,
        SegmentationStage,
        Stage,
        StepStage,
        ThresholdStage,
    )
    from adloc.study_file.regimes import Regime
    from adloc.study_file.spec import Scope, StudySpec


RECORD_VERSION = 2  # raised when a record looks different for the same stages: it is written anew


@dataclass(frozen=True)
class Run:
    """One row of the results: one variant, fitted, calibrated and evaluated on one category under one regime.

    Attributes:
        study: name of the study.
        run_id: readable and unique in the study: the same in every later run of the same question.
        category: whose test part is evaluated.
        regime: see adloc.study_file.regimes.
        scope: "category", or "unified" when the model was fitted on all categories.
        threshold_scope: whether the threshold is this category's own ("category") or one for all ("global").
        repeat: number of the repeat; every seed is the study's plus this.
        variant: the method and its setting.
        fit: fit steps, whose features are of the train part.
        threshold: None when the validation part is empty.
        validation: None when the validation part is empty.
        test: final figures.
        heatmaps: how many are logged.
        group: identity of what is averaged over categories into one macro row.
        condition: where it stands on the axes of the study.
        base: whether it is of what the main tables compare; the others show how figures move along an axis.
        segmentation: F1 at the validation part's pixel threshold; None without such a part, or where not asked for.
        saturation: sPRO; None where not asked for, or where no masks say which kind of defect they mark.
        diagnosis: whether its scores rank the validation part worse than plain ones; None where they are plain.
        over_epochs: "validation" and "test": the part scored by earlier states of the training, for the report's
            curves; empty where the method has none.
    """

    study: str
    run_id: str
    category: str
    regime: Regime
    scope: Scope
    threshold_scope: str
    repeat: int
    variant: Variant
    fit: tuple[StepStage, ...]
    threshold: ThresholdStage | None
    validation: EvaluationStage | None
    test: EvaluationStage
    heatmaps: int
    group: str
    condition: Condition = field(default_factory=Condition)
    base: bool = True
    segmentation: SegmentationStage | None = None
    saturation: SaturationStage | None = None
    diagnosis: DiagnosisStage | None = None
    over_epochs: Mapping[str, StepStage] = field(default_factory=dict)

    @property
    def train_part(self) -> Part:
        """The images that the model was fitted on: normal ones, unless the study contaminates them."""
        return self.fit[0].source.part

    @property
    def domain(self) -> str:
        """What it is evaluated in: "clean", "shift", or the name of a real domain."""
        return self.test.truth.part.domain

    @cached_property
    def key(self) -> str:
        """Identity of the run's result: a record with another key is of other data, weights or code."""
        stages = [self.fit[-1], self.threshold, self.validation, self.test]
        # No figure depends on them, but the record names them for every image.
        names = ",".join(stage.truth.part.names for stage in (self.validation, self.test) if stage)
        keys = [s.key if s else None for s in stages]
        if self.saturation is not None:
            keys.append(self.saturation.key)
        return key_of_lists(canonical([RECORD_VERSION, self.run_id, self.heatmaps, keys]), f"[[{names}]]")

    def stages(self) -> Iterator[Stage]:
        """Every stage of the run, inputs first; one that two branches need comes twice."""
        for last in self.ends:
            yield from walk(last)

    @property
    def ends(self) -> tuple[Stage, ...]:
        """What the run needs and nothing else of it does: all its stages are these, and those before them."""
        evaluated = (self.validation, self.test, self.segmentation, self.saturation, self.diagnosis)
        lasts = (self.fit[-1], self.threshold, *evaluated, *self.over_epochs.values())
        return tuple(stage for stage in lasts if stage is not None)


@dataclass(frozen=True)
class Plan:
    """All runs of a study, and how far each shared stage must reach.

    Attributes:
        spec: the study.
        runs: in the order in which they run: category by category, so that a category's data stays at hand.
        parts: of each category, clean, of the first repeat.
        targets: by name of a real domain: the same of its images.
        absent: what the study asks for, and a target has no images for.
    """

    spec: StudySpec
    runs: tuple[Run, ...]
    parts: Mapping[str, Parts]
    targets: Mapping[str, Mapping[str, Parts]] = field(default_factory=dict)
    absent: tuple[Absent, ...] = ()

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage once, by key, inputs before what needs them."""
        found: dict[str, Stage] = {}
        for stage in self._made:
            found.setdefault(stage.key, stage)
        return found

    @cached_property
    def _made(self) -> tuple[Stage, ...]:
        """Every stage as it was made, inputs first: those with one key may differ in how far they must reach."""
        return tuple(each_stage(self.runs))

    @cached_property
    def extents(self) -> dict[str, float]:
        """By key of a step that grows: the largest extent that any run needs, or any step that builds on it."""
        found: dict[str, float] = {}
        for stage in self._made:
            if stage.extent is not None:
                found[stage.key] = max(found.get(stage.key, 0.0), stage.extent)
        deepen(found, self.bases)
        return found

    @cached_property
    def bases(self) -> dict[str, StepStage]:
        """By key of a step that builds on smaller values: the stage with the next smaller one, from small to large.

        Neither keys nor results depend on it: it says which result to have first, and to go on from.
        """
        return find_bases(self.stages.values())

    @cached_property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """By `FeatureStage.source`: every layer that any run reads from that network at that size."""
        found: dict[str, set[str]] = {}
        for stage in features_among(self._made):
            found.setdefault(stage.source, set()).update(stage.layers)
        return {source: tuple(sorted(layers)) for source, layers in found.items()}

    def count(self) -> dict[str, int]:
        """Number of distinct stages of each kind, in the order in which they run."""
        return dict(Counter(stage.kind for stage in self.stages.values()))


def walk(stage: Stage) -> Iterator[Stage]:
    """A stage after all that it needs."""
    for before in stage.inputs:
        yield from walk(before)
    yield stage


def each_stage(runs: Iterable[Run]) -> Iterator[Stage]:
    """Every stage of some runs once, inputs first."""
    seen: set[int] = set()  # by identity: what is before a stage that was seen was seen too

    def unseen(stage: Stage) -> Iterator[Stage]:
        if id(stage) not in seen:
            seen.add(id(stage))
            for before in stage.inputs:
                yield from unseen(before)
            yield stage

    for run in runs:
        for last in run.ends:
            yield from unseen(last)


def sources(stages: Iterable[Stage]) -> list[Source]:
    """One source for each category, domain and network: what it takes to see that all can be read."""
    found: dict[tuple[object, ...], Source] = {}
    for stage in stages:
        if isinstance(stage, Source) and len(stage.part):
            found.setdefault((stage.part.category, stage.part.domain, stage.network), stage)
    return list(found.values())


def make_plan(spec: StudySpec, inventory: Inventory, winners: Sequence[Winner] = ()) -> Plan:
    """Expand a study into runs: those of its variants, and of what its searches have found so far.

    Raises:
        UserError: a category's parts cannot give the threshold that is asked for.
        DatasetError: parts overlap by content.
    """
    parts = StudyParts(spec, inventory)
    places, builder = Places(spec, parts), _Builder(spec, inventory)
    runs: list[Run] = []
    absent: dict[Absent, None] = {}
    untuned = None if winners else variants(spec)
    for repeat, scope, category in product(range(spec.repeats), dict.fromkeys(spec.scopes), parts.categories):
        for variant in untuned or variants(spec, winners, repeat, category):
            for regime, threshold_scope in product(dict.fromkeys(spec.regimes), _threshold_scopes(spec, scope)):
                for condition in parts.conditions(regime, repeat, variant.method.least_images):
                    lack = parts.lack(category, regime, scope, threshold_scope, repeat, condition)
                    if lack is None:
                        place = places.of(category, regime, scope, threshold_scope, repeat, condition)
                        runs.append(builder.run(variant, place))
                    else:
                        absent[lack] = None
    if absent and not runs:
        raise UserError(
            *(
                Complaint(str(each), "a study needs one run that can be made", "add such images, or add regimes")
                for each in absent
            )
        )
    clean = {c: parts.of(c, CLEAN, 0) for c in parts.categories}
    targets = {name: {c: parts.whole(c, name, 0) for c in parts.categories} for name in inventory.targets}
    return Plan(spec, tuple(runs), clean, targets, tuple(absent))


def _threshold_scopes(spec: StudySpec, scope: Scope) -> tuple[str, ...]:
    """Separate models' scores do not compare, so one threshold for all is for the unified scope."""
    if scope == "category":
        return ("category",)
    return ("category", "global") if spec.thresholds.scope == "both" else (spec.thresholds.scope,)


class _Builder:
    """Makes each stage once, so that keys are computed once."""

    def __init__(self, spec: StudySpec, inventory: Inventory) -> None:
        self._spec = spec
        self._maker = StageMaker(spec, inventory.weights)
        self._of_category = cache(lambda category: canonical([spec.study, category]))
        self._named = cache(self._method_and_values)
        self._unseen = cache(refuse_seen)
        self._held = cache(self._check_unseen)

    def run(self, variant: Variant, place: Place) -> Run:
        """One variant at one place."""
        repeat, part, tested = place.repeat, place.calibrated, place.tested
        fit = self._maker.fit(variant, place.train, place.validation, repeat)
        self._held(place, tuple((stage.source.part, stage.step.part == "fit") for stage in fit))
        threshold = validation = None
        if place.thresholded:
            scores = tuple(self._maker.score(variant, fit, each, repeat) for each in place.thresholded)
            threshold = self._maker.threshold(scores, place.thresholded)
            validation = self._maker.evaluation(variant, fit, part, repeat)
        test = self._maker.evaluation(variant, fit, tested, repeat)
        own, shared = self._named(variant, repeat)
        identity = key_of_lists(self._of_category(place.category), own, place.identity)
        return Run(
            self._spec.study,
            f"{place.category}-{variant.method.name}-{identity[:12]}",
            place.category,
            place.regime,
            place.scope,
            place.threshold_scope,
            repeat,
            variant,
            fit,
            threshold,
            validation,
            test,
            self._spec.heatmaps if place.pictured else 0,
            key_of_lists(shared, place.identity),
            place.condition,
            place.base,
            self._maker.segmentation(test, validation),
            self._maker.saturation(test),
            self._maker.diagnosis(validation),
            {name: step for name, each in (("validation", part), ("test", tested))
             if len(each) and (step := self._maker.over_epochs(variant, fit, each, repeat)) is not None},
        )  # fmt: skip

    def _check_unseen(self, place: Place, fitted: tuple[tuple[Part, bool], ...]) -> None:
        """Hold the parts of all categories that meet in a run against each other: each by itself was when it was split.

        Args:
            place: of the run.
            fitted: the parts that its steps read, and whether they are fitted on.

        Raises:
            DatasetError: an image of one category that another one has, too, was fitted or calibrated on.
        """
        for part in {part for part, _ in fitted} | set(place.thresholded):
            self._unseen(part, place.tested)
        for part, is_fit in fitted:
            for calibrated in place.thresholded if is_fit else ():
                self._unseen(part, calibrated)

    def _method_and_values(self, variant: Variant, repeat: int) -> tuple[str, str]:
        """Method and values, as JSON: of the variant, and of what it was tuned from."""
        values = variant.hyperparameters()
        own, shared = (
            canonical([variant.method.name, self._by_content(each, variant.setting, repeat)])
            for each in (values, variant.untuned or values)
        )
        return own, shared

    def _by_content(self, values: dict[str, Any], setting: str, repeat: int) -> dict[str, Any]:
        """Hyperparameters with the hash of the weights in place of their path; and the setting, if it has a name."""
        named = {SETTING: setting} if setting else {}
        hashed = self._maker.weights_hash(values, repeat)
        return values | ({"weights": hashed} if "weights" in values else {}) | named
