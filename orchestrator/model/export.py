"""A recorded run as a model that stands on its own, found to give the record's scores before its folder is there."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.environment import environment
from adloc.computing.reading import IMAGES_READ
from adloc.datasets.transform import resize_and_crop
from adloc.errors import Complaint, UserError
from adloc.methods import find_method
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import Exporting
from adloc.model.engines import Judging, with_engine
from adloc.model.folder import (
    BACKBONE,
    CARD,
    CONVERTED,
    NOTHING,
    Judged,
    Model,
    new_folder,
    write_fit,
    write_reference,
    write_spec,
)
from adloc.model.network import copy_weights
from adloc.model.scorer import Scorer
from adloc.model.selftest import (
    N_IMAGES,
    Case,
    SelfTest,
    choose_cases,
    encode,
    machine_of,
    tolerance_of,
    write_selftest,
)
from adloc.model.spec import BackboneSpec, ModelSpec, Origin, Reference, Scale, StepFacts, Threshold
from adloc.planning.parts import ValidationPart, require
from adloc.planning.sight import require_of_step
from adloc.tracking.mlmodel import write_mlmodel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.methods.detector import Result
    from adloc.methods.engines.engine import EngineName
    from adloc.model.engines import EngineChoice
    from adloc.planning.parts import Part
    from adloc.planning.plan import Run
    from adloc.record.records import RunRecord
    from adloc.study_file.spec import StudySpec

_BATCH = 16  # images scored together


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the model's folder.
        run_id: of the run.
        category: of the run.
        threshold: from which an image is anomalous; None where none was calibrated.
        n_bytes: of the whole folder.
        n_checked: validation images that the model was found to score as the record has it.
        largest_difference: of a score from the record.
    """

    path: Path
    run_id: str
    category: str
    threshold: float | None
    n_bytes: int
    n_checked: int
    largest_difference: float


@dataclass(frozen=True, slots=True)
class _Replayed:
    """The images that a model is judged by, as it scores them.

    Attributes:
        recorded: scores of the record; those of the model where the record has none.
        replayed: scores of the model.
        judged: what later images are compared with; nothing where the record has no score of them.
        cases: of the self-test.
    """

    recorded: NDArray[np.float64]
    replayed: NDArray[np.float64]
    judged: Judged
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What the study says of a run beyond its record.

    Attributes:
        card: the text of card.md.
        regimes: image F1 on validation images by regime, at the run's setting; empty where there was no shift.
    """

    card: str
    regimes: Mapping[str, float]


def export_run(
    run: Run,
    record: RunRecord,
    bench: Workbench,
    spec: StudySpec,
    told: Told,
    output: Path,
    *,
    with_backbone: bool = False,
    engine: EngineChoice | None = None,
) -> Exported:
    """Write a run's model as a folder.

    Args:
        run: of the plan.
        record: of the run.
        bench: finds the stages in the store, or computes them.
        spec: of the study.
        told: what else the study says.
        output: the folder; new, or empty.
        with_backbone: whether the backbone's weights go into it.
        engine: what computes the backbone; None for the study's own, with which every bit is the record's.

    Raises:
        UserError: the folder is there, the engine cannot run the network, or the model does not give the record's
            scores.
    """
    with new_folder(output) as draft:
        model = _model(draft, run, record, bench, spec)
        model = _with(model, regimes=dict(told.regimes))
        backbone = model.spec.backbone
        if with_backbone and backbone is not None and _has_weights(model):
            model = _with(model, backbone=copy_weights(draft, backbone))
        part, numbers = _judging(run)
        judging = Judging(partial(_pictures, run), np.array([bool(part.samples[i].label) for i in numbers]))
        model = with_engine(model, engine or _engine_of(run), bench.device, judging)
        scorer = Scorer(model, bench.device)
        found = _replay(scorer, run, bench)
        largest = float(np.abs(found.replayed - found.recorded).max())
        allowed = tolerance_of(found.recorded)
        if largest > allowed:
            raise UserError(
                Complaint(
                    f"{run.run_id}: the model on its own gives a score that is {largest:.3g} off the record",
                    f"an exported model scores as its run did, within {allowed:.3g}",
                    "run the study again with --fresh on this machine and device, then export",
                )
            )
        labels = found.judged.labels
        reference = Reference(
            file=write_reference(draft, found.judged),
            source=model.spec.reference.source,
            n_normal=int((~labels).sum()),
            n_anomalous=int(labels.sum()),
            statistics=scorer.statistics,
        )
        write_fit(draft, model.fit, [known.sha256 for known in run.train_part.fingerprints])
        write_selftest(
            draft, SelfTest(machine=machine_of(bench.device, model.spec.engine, scorer.method_code), cases=found.cases)
        )
        write_mlmodel(draft, base64.b64decode(found.cases[0].png))
        (draft / CARD).write_text(told.card, encoding="utf-8")
        files = dict.fromkeys((name for name in (BACKBONE, CONVERTED) if (draft / name).exists()), "")
        write_spec(draft, model.spec.model_copy(update={"reference": reference, "files": files}))
    n_bytes = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    return Exported(output, run.run_id, run.category, record.threshold, n_bytes, len(labels), largest)


def _model(draft: Path, run: Run, record: RunRecord, bench: Workbench, spec: StudySpec) -> Model:
    """The model in memory, without its references."""
    variant, last = run.variant, run.fit[-1]
    for stage in run.fit:
        require_of_step(stage)
    fit: dict[str, Result] = {stage.step.name: bench.result(stage) for stage in run.fit}
    detector = bench.detector(variant.method)
    if isinstance(detector, Exporting):
        fit = dict(detector.exported(fit, variant.params))
    versions = {k: v for k, v in environment().items() if k not in ("platform", "cores", "cpu")}
    written = ModelSpec(
        origin=Origin(
            study=run.study,
            run_id=run.run_id,
            key=run.key,
            category=run.category,
            regime=run.regime,
            scope=run.scope,
            threshold_scope=run.threshold_scope,
            repeat=run.repeat,
            setting=variant.setting,
            domain=run.domain,
            n_train=len(run.train_part),
        ),
        method=_place_of(run, spec),
        method_code=variant.method.code,
        params=variant.params.model_dump(mode="json"),
        seed=last.seed,
        image=variant.image,
        dtype=spec.features.dtype,
        engine="torch",
        backbone=_backbone(run),
        threshold=_threshold(run, record, spec),
        scale=_scale(run, bench),
        reference=Reference(file="", source=_source(run), n_normal=0, n_anomalous=0, statistics=()),
        steps={
            name: StepFacts(
                arrays=tuple(sorted(result.arrays)),
                facts={key: fact for key, fact in result.facts.items() if key != IMAGES_READ},
            )
            for name, result in fit.items()
        },
        files={},
        versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Model(draft, written, fit, NOTHING)


def _replay(scorer: Scorer, run: Run, bench: Workbench) -> _Replayed:
    """Score the validation images by the model; without any, some training images."""
    part, numbers = _judging(run)
    recorded: NDArray[np.float64] | None = None
    if run.validation is not None:
        recorded = bench.result(run.validation).arrays["image_scores"].astype(np.float64)
    found = [scorer.score(pixels, measure=True) for pixels in _pictures(run)]
    scores = np.concatenate([each.scores for each in found]).astype(np.float64)
    statistics = np.concatenate([each.statistics for each in found if each.statistics is not None])
    labels = np.array([bool(part.samples[i].label) for i in numbers])
    expected = scores if recorded is None else recorded
    image = run.variant.image
    cases = tuple(
        Case(
            name=part.samples[i].identity,
            anomalous=bool(labels[i]),
            recorded=float(expected[i]),
            replayed=float(scores[i]),
            png=encode(np.ascontiguousarray(resize_and_crop(part.read(i, image).image, image))),
        )
        for i in choose_cases(expected, labels)
    )
    judged = NOTHING if recorded is None else Judged(recorded.astype(np.float32), labels, statistics)
    return _Replayed(expected, scores, judged, cases)


def _judging(run: Run) -> tuple[Part, range]:
    """The images by which the model is judged: the validation part; without any, a few training images."""
    if run.validation is None:
        return run.train_part, range(min(len(run.train_part), N_IMAGES))
    part = run.validation.truth.part
    require(part, ValidationPart)
    return part, range(len(part))


def _pictures(run: Run) -> Iterator[NDArray[np.uint8]]:
    """Those images as the model sees them, some at a time."""
    (part, numbers), image = _judging(run), run.variant.image
    for start in range(0, len(numbers), _BATCH):
        some = numbers[start : start + _BATCH]
        yield np.stack([np.ascontiguousarray(resize_and_crop(part.read(i, image).image, image)) for i in some])


def _engine_of(run: Run) -> EngineName:
    """The engine of the study's own features."""
    features = run.fit[0].features
    return "torch" if features is None else features.engine.name


def _with(model: Model, **values: object) -> Model:
    return replace(model, spec=model.spec.model_copy(update=values))


def _backbone(run: Run) -> BackboneSpec | None:
    network, features = run.fit[0].source.network, run.fit[0].features
    if network is None:
        return None
    description = resolve_weights(network.backbone, network.weights, seed=network.seed).description
    return BackboneSpec(
        backbone=network.backbone,
        weights=network.weights,
        sha256=network.sha256,
        seed=network.seed,
        layers=() if features is None else features.layers,
        description=description,
    )


def _threshold(run: Run, record: RunRecord, spec: StudySpec) -> Threshold:
    normal = 0
    if run.threshold is not None:
        normal = sum(1 - sample.label for part in run.threshold.parts for sample in part.samples)
    return Threshold(
        image=record.threshold,
        pixel=record.metrics.get("pixel_threshold"),
        objective=spec.thresholds.words,
        source=_source_of_threshold(run),
        n_normal=normal,
        expected_fpr=record.metrics.get("expected_fpr"),
        upper_fpr=record.metrics.get("upper_fpr"),
    )


def _scale(run: Run, bench: Workbench) -> Scale | None:
    if run.validation is None:
        return None
    levels = bench.result(run.validation).arrays.get("map_levels")
    return None if levels is None else Scale(low=float(levels[0]), high=float(levels[1]))


def _source(run: Run) -> str:
    if run.validation is None:
        return "none: the study has no validation part"
    part = run.validation.truth.part
    return f"validation part of {part.category}, {part.domain} images, study {run.study}"


def _source_of_threshold(run: Run) -> str:
    """As `_source`; a threshold for all categories rests on the images of each."""
    if run.threshold is None or len(run.threshold.parts) == 1:
        return _source(run)
    parts = run.threshold.parts
    names = ", ".join(part.category for part in parts)
    return f"validation parts of {names}, {parts[0].domain} images, study {run.study}"


def _place_of(run: Run, spec: StudySpec) -> str:
    """The method as the study file names it: a plug-in is found by its place, not by its name."""
    return next(e.method for e in spec.methods if find_method(e.method).name == run.variant.method.name)


def _has_weights(model: Model) -> bool:
    """Whether there is a file to take along: a method that trains its own network from a seed has none."""
    backbone = model.spec.backbone
    if backbone is None:
        return False
    file = resolve_weights(backbone.backbone, backbone.weights, seed=backbone.seed)
    return file.path is not None or find_method(model.spec.method).reads == "features"
