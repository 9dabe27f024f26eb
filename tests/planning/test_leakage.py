"""Attacks on the parts: stages made by hand, parts that lie, one image in two parts under whatever name or format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from adloc.computing.compute import Workbench
from adloc.computing.features import FeatureExtraction
from adloc.computing.images import PartImages
from adloc.computing.store import Store
from adloc.computing.truth import read_truth
from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import fingerprints
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.sample import Fingerprint
from adloc.datasets.split import SplitConfig
from adloc.datasets.transform import ImageConfig
from adloc.errors import StageMismatchError
from adloc.planning.extents import Extents
from adloc.planning.parts import Part, PrivatePart, TestPart, TrainPart, ValidationPart, make_parts
from adloc.planning.plan import make_plan
from adloc.planning.sight import require_sight
from adloc.planning.sources import ImageStage
from adloc.planning.stages import EvaluationStage, SaturationStage, StepStage, TruthStage
from plans import inventory, plan_of, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage

INDEXED = [{"method": "patchcore", "params": {"backbone": "resnet18"}, "grid": {"search": [{"index": "ivf"}]}}]
PLAN = plan_of(("a",), methods=INDEXED, split={"train_fraction": 0.7})


def called(kind: type[Part], part: Part) -> Any:
    """The same images under another type."""
    return kind(part.category, part.domain, part.samples, part.fingerprints, part.shift)


def of(stage: StepStage, part: Part, **changes: Any) -> StepStage:
    """A step on another part."""
    return replace(stage, source=replace(stage.source, part=part), **changes)


def step(run: Run, part: str) -> StepStage:
    """The first step of a run that fits, calibrates or scores the test part."""
    return next(s for s in (*run.test.scores.before, run.test.scores) if s.step.part == part)


def judged_by_seen(run: Run, part: str) -> StepStage:
    """The test part's scores by a model one of whose steps was given the test images under a permitted name."""
    kind = TrainPart if part == "fit" else ValidationPart
    forged = of(step(run, part), called(kind, run.test.truth.part))
    return replace(
        run.test.scores, before=tuple(forged if s.step == forged.step else s for s in run.test.scores.before)
    )


def scored(run: Run, part: Part) -> StepStage:
    """The last score step of a run's model on another part."""
    return of(run.test.scores, part)


def evaluated(run: Run, part: Part) -> EvaluationStage:
    """An evaluation of another part."""
    return replace(run.test, scores=scored(run, part), truth=replace(run.test.truth, part=part))


FORGED: dict[str, Callable[[Run, Part, Any], Stage]] = {
    "fit of the test part": lambda run, test, _: of(step(run, "fit"), test),
    "fit of the validation part": lambda run, _, validation: of(step(run, "fit"), validation),
    "fit of private images": lambda run, test, _: of(step(run, "fit"), called(PrivatePart, test)),
    "calibration on the test part": lambda run, test, _: of(step(run, "calibrate"), test),
    "score by a model fitted on the test part": lambda run, *_: judged_by_seen(run, "fit"),
    "score by a model calibrated on the test part": lambda run, *_: judged_by_seen(run, "calibrate"),
    "threshold of the test part": lambda run, test, _: replace(run.threshold, scores=(run.test.scores,), parts=(test,)),
    "threshold of test scores": lambda run, *_: replace(run.threshold, scores=(run.test.scores,)),
    "threshold of scores of other images": lambda run, test, _: replace(
        run.threshold, scores=(scored(run, called(ValidationPart, test)),)
    ),
    "threshold on images fitted on": lambda run, *_: replace(
        run.threshold,
        scores=(scored(run, seen := called(ValidationPart, run.train_part)),),
        parts=(seen,),
    ),
    "truth of the train part": lambda run, *_: replace(run.test.truth, part=run.train_part),
    "truth of private images": lambda run, test, _: replace(run.test.truth, part=called(PrivatePart, test)),
    "evaluation of the train part": lambda run, *_: evaluated(run, run.train_part),
    "evaluation of private images": lambda run, test, _: evaluated(run, called(PrivatePart, test)),
    "evaluation of images fitted on": lambda run, *_: evaluated(run, called(TestPart, run.train_part)),
    "evaluation of scores of other images": lambda run, *_: replace(run.test, scores=run.validation.scores),  # type: ignore[union-attr]
    "evaluation by a model that has seen the images": lambda run, *_: replace(
        run.test, scores=judged_by_seen(run, "fit")
    ),
    "segmentation of the validation part": lambda run, *_: replace(
        run.segmentation, scores=run.validation.scores, truth=run.validation.truth  # type: ignore[union-attr]
    ),
    "segmentation at a threshold of the test part": lambda run, *_: replace(run.segmentation, calibrated=run.test),
    "segmentation at a threshold of test images": lambda run, test, _: replace(
        run.segmentation, calibrated=evaluated(run, called(ValidationPart, test))
    ),
    "saturation of the validation part": lambda run, *_: SaturationStage(run.validation.scores, run.validation.truth),  # type: ignore[union-attr]
    "saturation of images fitted on": lambda run, *_: SaturationStage(
        (seen := evaluated(run, called(TestPart, run.train_part))).scores, seen.truth
    ),
    "diagnosis of the test part": lambda run, *_: replace(run.diagnosis, evaluation=run.test),
}  # fmt: skip


class Listener:
    """Hears what is computed."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.heard.append(name)


@pytest.mark.parametrize("attack", FORGED)
def test_a_stage_made_by_hand_is_refused_before_anything_is_computed(attack: str, tmp_path: Path) -> None:
    """Of every kind, whatever its part calls itself: no input of it is computed, no image is read."""
    (run,) = PLAN.runs
    assert run.validation is not None
    forged = FORGED[attack](run, run.test.truth.part, run.validation.truth.part)
    store, listener = Store(tmp_path), Listener()
    bench = Workbench(store, Extents.of(PLAN), torch.device("cpu"), listener)
    with pytest.raises(StageMismatchError, match="this stage takes"):
        bench.result(forged)
    assert listener.heard == []
    assert list(store.entries()) == []


def test_every_kind_of_stage_is_attacked_and_the_planner_makes_none_that_is_refused() -> None:
    """The kinds of the table are those of a plan; features and images are held to by what reads them."""
    (run,) = PLAN.runs
    kinds = {type(FORGED[name](run, run.test.truth.part, run.validation.truth.part)) for name in FORGED}  # type: ignore[union-attr]
    planned = {type(stage) for stage in PLAN.stages.values()}
    assert {kind.__name__ for kind in planned - kinds} == {"FeatureStage"}
    shifted = plan_of(regimes=["clean", "no_adaptation", "threshold_only", "full_adaptation"], repeats=2,
                      scopes=["category", "unified"], methods=INDEXED)  # fmt: skip
    for stage in (*PLAN.stages.values(), *shifted.stages.values()):
        require_sight(stage)


def forge(mvtec_tree: Path) -> tuple[TrainPart, TestPart]:
    """A train part whose files are the test images and whose hashes are those of its own; and the test part."""
    samples = list_category(mvtec_tree / "gear").samples
    parts = make_parts(samples, fingerprints(samples), SplitConfig(), None)
    n = min(len(parts.train), len(parts.test))
    train = TrainPart("gear", "clean", parts.test.samples[:n], parts.train.fingerprints[:n], None)
    return train, parts.test


def test_images_of_a_part_that_lies_about_them_are_not_read(mvtec_tree: Path, tmp_path: Path) -> None:
    """Keys, and so results, would be those of the train images: pixels are held to the hash wherever they are read."""
    part, _ = forge(mvtec_tree)
    (run,) = PLAN.runs
    features = replace(step(run, "fit").source, part=part)
    passing = FeatureExtraction(Store(tmp_path), torch.device("cpu"))
    passing.network = lambda *_: SimpleNamespace(device=torch.device("cpu"))  # type: ignore[method-assign, assignment]
    shown = called(TestPart, part)
    reads: list[Callable[[], object]] = [
        lambda: passing.run(features, ("layer1",), lambda *_: None),  # type: ignore[arg-type]
        lambda: PartImages(ImageStage(part, None, ImageConfig(size=32))).read([0]),
        lambda: read_truth(TruthStage(shown, ImageConfig(size=32), (32, 32))),
        lambda: part.read(0, ImageConfig(size=32)),
    ]
    for read in reads:
        with pytest.raises(DatasetError, match="not the image that it was when the study was planned"):
            read()
    assert list(Store(tmp_path).entries()) == []


def test_an_image_that_changes_after_the_plan_is_not_taken_for_what_it_was(mvtec_copy: Path) -> None:
    """The same file, other pixels: a study that went on would keep them under the old hash."""
    samples = list_category(mvtec_copy / "gear").samples
    train = make_parts(samples, fingerprints(samples), SplitConfig(), None).train
    before = train.read(0, ImageConfig()).image
    Image.fromarray(255 - before).save(train.samples[0].source.location)
    with pytest.raises(DatasetError, match=Path(train.samples[0].source.location).name):
        train.read(0, ImageConfig())


def linked(source: Path, folder: Path) -> None:
    """Another name for the file."""
    (folder / "other.png").symlink_to(source)


def hard_linked(source: Path, folder: Path) -> None:
    """A second entry of the same file."""
    (folder / "other.png").hardlink_to(source)


def compressed_anew(source: Path, folder: Path) -> None:
    """PNG again, with other bytes."""
    Image.open(source).save(folder / "other.png", compress_level=1)
    assert (folder / "other.png").read_bytes() != source.read_bytes()


def from_jpeg(source: Path, folder: Path) -> None:
    """The image becomes a JPEG, and what that decodes to a PNG of the test part."""
    jpeg = source.with_suffix(".jpg")
    Image.open(source).save(jpeg, quality=80)
    source.unlink()
    Image.fromarray(np.asarray(Image.open(jpeg))).save(folder / "other.png")


@pytest.mark.parametrize("copy", [linked, hard_linked, compressed_anew, from_jpeg])
def test_one_image_in_two_parts_is_refused_whatever_its_name_and_format(
    copy: Callable[[Path, Path], None], mvtec_copy: Path
) -> None:
    """A training image that stands among the test images too; both are named."""
    gear = mvtec_copy / "gear"
    copy(gear / "train/good/000.png", gear / "test/good")
    samples = list_category(gear).samples
    with pytest.raises(DatasetError, match=r"000\.(png|jpg) \(\w+\) = .*other\.png \(test\): the same content"):
        make_parts(samples, fingerprints(samples), SplitConfig(train_fraction=1), None)


@pytest.mark.parametrize(
    ("study", "refused"),
    [({}, False), ({"scopes": ["unified"]}, True), ({"scopes": ["category", "unified"]}, True)],
)
def test_a_model_of_all_categories_is_not_tested_on_an_image_of_another_one(
    study: dict[str, Any], refused: bool
) -> None:  # fmt: skip
    """Category a's first test image is a training image of b. Models of one category each never see both."""
    known = inventory(("a", "b"))
    plan = make_plan(spec_of(), known)
    test = next(run.test.truth.part for run in plan.runs if run.category == "a")
    train = next(run.train_part for run in plan.runs if run.category == "b")
    prints = {**known.fingerprints, test.samples[0].identity: replace(train.fingerprints[0], mask_sha256="")}
    assert isinstance(prints[test.samples[0].identity], Fingerprint)
    shared = replace(known, fingerprints=prints)
    if refused:
        with pytest.raises(DatasetError, match="the same content"):
            make_plan(spec_of(**study), shared)
    else:
        make_plan(spec_of(**study), shared)
