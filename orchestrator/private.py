"""The private test parts of MVTec AD 2, scored and written as the benchmark's server takes them.

The form is that of the publisher's own check of a submission, `check_and_prepare_data_for_upload.py`:
anomaly_images/<object>/<part>/<image>.tiff, float16, and anomaly_images_thresholded/<object>/<part>/<image>.png, 0 and
255, each of one channel and here at its image's own size; nothing else in the folder. Nobody here has the labels, so
nothing can be chosen on these images; they are a part of their own, which no fit, threshold or evaluation takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from PIL import Image

from adloc.computing.compute import Workbench
from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.datasets.readers.mvtec_ad_2 import MvtecAd2Config
from adloc.errors import Complaint, UserError
from adloc.explain.boundary import find_run
from adloc.explain.explainer import Unheard
from adloc.methods.anomaly_map import expand_maps
from adloc.methods.detector import PATCH_MAPS
from adloc.planning.extents import Extents
from adloc.planning.parts import PrivatePart, ValidationPart, require
from adloc.planning.stage_maker import StageMaker
from adloc.study_file.evaluating import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.datasets.sample import Sample
    from adloc.executors.on_demand import OnDemand
    from adloc.planning.plan import Run
    from adloc.study import Study

MAPS, MASKS = "anomaly_images", "anomaly_images_thresholded"
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written of one category.

    Attributes:
        category: "can".
        run_id: of the model that scored it.
        n_images: of both parts.
        threshold: pixel score from which a pixel is anomalous in the thresholded images.
    """

    category: str
    run_id: str
    n_images: int
    threshold: float


def export_private(
    study: Study, run_id: str, on_demand: OnDemand, output: Path, fpr: float = 0.001
) -> Iterator[Exported]:
    """Score the private images of every category with the models of one setting, and write them category by category.

    Args:
        study: prepared, of kind mvtec_ad_2.
        run_id: a recorded run of regime clean; the runs of the same setting on the other categories go with it.
        on_demand: says on which device.
        output: the folder of the submission; new, or empty.
        fpr: the share of the pixels of normal validation images that may be called anomalous: of them comes the
            threshold, for MVTec AD 2's validation part has no defects.

    Raises:
        UserError: anything that keeps it from being done, before any work.
    """
    runs = _runs(study, find_run(study, run_id))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        found = f"--output {output} is there, and not an empty folder"
        raise UserError(Complaint(found, "the server takes nothing but what is expected", "name a new folder"))
    parts = {run.category: _private_part(study, run) for run in runs}
    executor = on_demand.executor
    store = study.workspace.store()
    bench = Workbench(store, Extents.of(study.plan), executor.device, Unheard(), executor.batch_size)
    maker = StageMaker(study.spec, study.inventory.weights)
    for run in runs:
        yield _export(run, parts[run.category], bench, maker, output, fpr)


def pixel_threshold(maps: Iterable[NDArray[np.float32]], n_pixels: int, fpr: float) -> float:
    """The smallest score from which at most a share of these pixels is flagged; ties are flagged together.

    Args:
        maps: of normal images; kept in memory are the largest scores alone.
        n_pixels: of all maps together.
        fpr: the share, at least 0 and below 1.

    Example:
        >>> import numpy as np
        >>> maps = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
        >>> round(pixel_threshold(maps, 8, fpr=0.25), 4)  # of 0 to 7, two may be flagged: 6 and 7
        5.0
    """
    n_kept = math.floor(fpr * n_pixels) + 1
    largest = np.zeros(0, dtype=np.float32)
    for each in maps:
        largest = np.sort(np.concatenate((largest, each.reshape(-1))))[-n_kept:]
    return float(np.nextafter(largest[0], np.float32(math.inf)))


def _runs(study: Study, chosen: Run) -> list[Run]:
    """The run with those of its setting on the other categories, in the order of the study.

    Raises:
        UserError: they are no runs to export.
    """
    dataset, complaints = study.spec.dataset, []
    if not isinstance(dataset, MvtecAd2Config):
        rule = "the server is MVTec AD 2's: no other dataset has private test parts"
        complaints.append(Complaint(f"dataset.kind is {dataset.kind}", rule, "use kind: mvtec_ad_2"))
    if chosen.regime != "clean":
        rule = "private images are scored as they are, with the threshold of images as they are"
        complaints.append(
            Complaint(f"{chosen.run_id} is of regime {chosen.regime}", rule, "name a run of regime clean")
        )
    if chosen.variant.image.crop is not None:
        rule = "the server compares whole images, and a crop leaves pixels without a score"
        complaints.append(Complaint(f"{chosen.run_id} has image.crop", rule, "name a run without a crop"))
    if complaints:
        raise UserError(*complaints)
    runs = [
        run
        for run in study.plan.runs
        if (run.group, run.regime, run.condition) == (chosen.group, chosen.regime, chosen.condition)
    ]
    for run in runs:
        find_run(study, run.run_id)
        if run.validation is None or all(sample.label for sample in run.validation.truth.part.samples):
            found = f"{run.run_id}: the validation part has no normal image"
            rule = "the pixel threshold is a quantile of normal validation pixels"
            raise UserError(Complaint(found, rule, "use split.kind: official, or lower split.train_fraction"))
    return runs


def _private_part(study: Study, run: Run) -> PrivatePart:
    """The private images of a run's category, by content.

    Raises:
        UserError: they are not there, or damaged.
    """
    dataset = study.spec.dataset
    if not isinstance(dataset, MvtecAd2Config):
        raise TypeError(dataset.kind)
    try:
        samples: list[Sample] = dataset.private(run.category)
        known = fingerprints(samples, FingerprintCache(study.workspace.fingerprints_path))
    except DatasetError as error:
        raise UserError(*(Complaint(p.found, p.rule, p.remedy) for p in error.problems)) from None
    return PrivatePart(run.category, "clean", tuple(samples), tuple(known[s.identity] for s in samples), None)


def _export(run: Run, part: PrivatePart, bench: Workbench, maker: StageMaker, output: Path, fpr: float) -> Exported:
    threshold = _threshold(run, bench, fpr)
    patch_maps = bench.result(maker.score(run.variant, run.fit, part, run.repeat)).arrays[PATCH_MAPS]
    largest = float(np.abs(patch_maps).max())
    if largest > _LARGEST:
        found = f"{run.run_id}: the largest score is {largest:.4g}"
        rule = f"the server takes float16, which holds at most {_LARGEST:.0f}"
        raise UserError(Complaint(found, rule, "name a run with smaller scores: of another backbone, or without PaDiM"))
    for index, (sample, known) in enumerate(zip(part.samples, part.fingerprints, strict=True)):
        scores = _anomaly_map(run, bench, patch_maps[index : index + 1], (known.height, known.width))
        name = f"{run.category}/{sample.name.rpartition('.')[0]}"
        maps, masks = output / MAPS / f"{name}.tiff", output / MASKS / f"{name}.png"
        for path in (maps, masks):
            path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(maps, scores.astype(np.float16), compression="zlib")
        Image.fromarray((scores >= threshold).astype(np.uint8) * 255).save(masks)
    return Exported(run.category, run.run_id, len(part), threshold)


def _threshold(run: Run, bench: Workbench, fpr: float) -> float:
    """Of the normal images of the run's own validation part, at the size at which the run is evaluated."""
    if run.validation is None:
        raise ValueError("without a validation part there is no threshold")
    part = run.validation.truth.part
    require(part, ValidationPart)
    if PATCH_MAPS not in bench.result(run.validation.scores).arrays:
        found = f"{run.run_id}: {run.variant.method.name} gives no anomaly maps"
        rule = "a submission is made of the maps of every private image"
        raise UserError(Complaint(found, rule, "name a run of a method that says where a defect is"))
    patch_maps = bench.result(run.validation.scores).arrays[PATCH_MAPS]
    normal = [index for index, sample in enumerate(part.samples) if not sample.label]
    prints = [part.fingerprints[index] for index in normal]
    sizes = [_evaluation_size(run, (known.height, known.width)) for known in prints]
    n_pixels = sum(height * width for height, width in sizes)
    detector = bench.detector(run.variant.method)
    maps = (
        detector.anomaly_maps(patch_maps[index : index + 1], size, run.variant.params)
        for index, size in zip(normal, sizes, strict=True)
    )
    return pixel_threshold(maps, n_pixels, fpr)


def _anomaly_map(
    run: Run, bench: Workbench, patch_maps: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Float32 (height, width), the map that the run's figures are of, bilinear at the image's own size."""
    evaluated = _evaluation_size(run, size)
    maps = bench.detector(run.variant.method).anomaly_maps(patch_maps, evaluated, run.variant.params)
    scores: NDArray[np.float32] = (expand_maps(maps, size) if evaluated != size else maps)[0]
    return scores


def _evaluation_size(run: Run, native: tuple[int, int]) -> tuple[int, int]:
    size = run.test.truth.size
    return native if size == NATIVE else size
