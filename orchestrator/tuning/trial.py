"""One trial: a setting fitted on train parts and looked at on validation parts. A test part is refused.

Trials use the stages and the store of ordinary runs. A coreset is computed to the largest ratio of the space, a search
to its largest number of neighbours, features for every layer of its choices: what later trials need is there already.
"""

from __future__ import annotations

from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING

from adloc.computing.compute import Workbench
from adloc.errors import StageMismatchError
from adloc.planning.bases import deepen, find_bases
from adloc.planning.extents import Extents
from adloc.planning.parts import TrainPart, ValidationPart
from adloc.planning.plan import walk
from adloc.planning.sources import FeatureStage, ImageStage, features_among
from adloc.record.recorder import costs, figures, on_validation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adloc.computing.features import PartFeatures
    from adloc.computing.images import PartImages
    from adloc.methods.detector import Result
    from adloc.planning.calibration import Calibration
    from adloc.planning.parts import Part
    from adloc.planning.stages import Stage
    from adloc.study_file.variants import Variant
    from adloc.tuning.search import Search
    from adloc.tuning.trial_stages import TrialStages

TRIED = (TrainPart, ValidationPart)


class Reach:
    """How far shared stages reach: for the plan's runs, and for every trial that a space may bring."""

    def __init__(self, plan: Extents) -> None:
        """Start from what the plan's runs need."""
        self._extents = dict(plan.extents)
        self._layers = dict(plan.layers)
        self._bases = dict(plan.bases)
        self._steps: dict[str, Stage] = {}
        self._lock = Lock()
        self.extents = Extents(self._extents, self._layers, self._bases)

    def extend(self, stages: Iterable[Stage], search: Search) -> None:
        """Let these stages reach as far as the largest values of the space. Trials of a wave may call it at once."""
        with self._lock:
            self._extend(stages, search)

    def _extend(self, stages: Iterable[Stage], search: Search) -> None:
        stages = tuple(stages)
        for features in features_among(stages):
            known = self._layers.get(features.source, ())
            self._layers[features.source] = tuple(sorted({*known, *features.layers, *search.layers()}))
        for stage in stages:
            if stage.extent is not None:
                dimension = search.space.get(str(stage.grows_with))
                most = dimension.most(stage.extent) if dimension else stage.extent
                self._extents[stage.key] = max(self._extents.get(stage.key, 0.0), most)
            if stage.family is not None:
                self._steps.setdefault(stage.key, stage)  # a later trial goes on from the next smaller one's result
        self._bases.update(find_bases(self._steps.values()))
        deepen(self._extents, self._bases)


class TrialBench(Workbench):
    """A workbench on which no stage of a test part, or of an image outside the given parts, is computed or read."""

    def allow(self, calibration: Mapping[str, Calibration]) -> None:
        """Say which images trials may see; none before."""
        parts = [part for each in calibration.values() for part in (each.train, each.validation)]
        self._allowed = {key for part in parts for key in part.image_keys}
        self._checked: dict[int, Part] = {}  # an id is a part's own as long as the part lives

    def result(self, stage: Stage) -> Result:
        """See `Workbench.result`.

        Raises:
            StageMismatchError: the stage, or one that it needs, is of anything but the given parts.
        """
        for each in walk(stage):
            for part in each.parts:
                self._check(part)
        return super().result(stage)

    def features(self, stage: FeatureStage) -> PartFeatures:
        """See `Workbench.features`; refuses like `result`."""
        self._check(stage.part)
        return super().features(stage)

    def images(self, stage: ImageStage) -> PartImages:
        """See `Workbench.images`; refuses like `result`."""
        self._check(stage.part)
        return super().images(stage)

    def _check(self, part: Part) -> None:
        if id(part) in self._checked:
            return
        if type(part) not in TRIED:
            message = f"a trial takes train and validation parts and was given a {type(part).__name__}"
            raise StageMismatchError(message)
        if not self._allowed.issuperset(part.image_keys):
            message = f"a trial was given a {type(part).__name__} with images that are not of its study's"
            raise StageMismatchError(message)
        self._checked[id(part)] = part


def try_category(
    stages: TrialStages, variant: Variant, category: str, bench: TrialBench, reach: Reach
) -> dict[str, float | None]:
    """Validation metrics and costs of a setting on one category, by result column.

    Raises:
        StageMismatchError: a stage is of anything but train and validation parts.
        MethodError: the setting cannot be fitted on these images.
    """
    stage, calibrated = stages.evaluation(variant, category), stages.threshold(variant, category)
    reach.extend((each for last in (stage, calibrated) for each in walk(last)), stages.search)
    evaluated = bench.result(stage)
    threshold = bench.result(calibrated)
    found = figures(stage, evaluated, float(threshold.facts["threshold"]))
    fit = tuple(s for s in stage.scores.before if s.step.part == "fit")
    spent = costs(fit, stage, bench)
    return on_validation(found) | {name: spent[name] for name in ("fit_s", "score_ms_per_image", "model_mb")}


def mean_figures(categories: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean over categories of every figure; None where a category lacks it."""
    first = next(iter(categories.values()))
    found: dict[str, float | None] = {}
    for name in first:
        values = [figures[name] for figures in categories.values()]
        known = [v for v in values if v is not None]
        found[name] = fmean(known) if len(known) == len(values) else None
    return found
