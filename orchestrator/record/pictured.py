"""The test images that a run keeps pictures of: which they are, what is drawn of them, and the files of those drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.truth import truth_of
from adloc.datasets.transform import resize_and_crop
from adloc.methods.detector import PATCH_MAPS
from adloc.record.heatmaps import Caption, ColourScale, choose_common, choose_images
from adloc.record.located import find_contour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.computing.compute import Workbench
    from adloc.planning.parts import Part
    from adloc.planning.plan import Run
    from adloc.record.heatmaps import Reason
    from adloc.record.panels import Pixels

_LONGEST_SLUG = 180  # bytes, of a name that has a number and a reason before it


@dataclass(frozen=True, slots=True, eq=False)
class Pictured:
    """A test image of a run, with what a picture shows of it.

    Attributes:
        file_name: of the picture.
        why: it was chosen.
        caption: of the picture.
        scale: of the colours.
        anomaly_map: float32 (height, width), raw, at the evaluation size.
        mask: bool (height, width), True on defect pixels.
        read: the image as the model saw it, uint8 (height, width, 3).
    """

    file_name: str
    why: Reason
    caption: Caption
    scale: ColourScale
    anomaly_map: NDArray[np.float32]
    mask: NDArray[np.bool_]
    read: Callable[[], Pixels]


def choose_pictured(run: Run, bench: Workbench, threshold: float | None) -> list[Pictured]:
    """Some images of a run's test part, the same for the same scores; none where its method has no maps.

    Half of them are the same in every run on the category, the others are this run's own extremes. The scale is of the
    validation part that the threshold is from: where a model and its threshold meet shifted images, the same score
    keeps its colour, and what the shift does shows.

    Args:
        run: of the plan.
        bench: finds its stages in the store, or computes them.
        threshold: of the run.
    """
    scored, test = bench.result(run.test.scores).arrays, bench.result(run.test)
    if not run.heatmaps or PATCH_MAPS not in scored:
        return []
    part, scores = run.test.truth.part, test.arrays["image_scores"]
    labels = np.array([s.label for s in part.samples], dtype=bool)
    judged_by = bench.result(run.validation) if run.validation is not None else test
    low, high = judged_by.arrays["map_levels"].tolist()
    scale = ColourScale.around(low=low, high=high, threshold=threshold)
    common = choose_common([s.identity for s in part.samples], [s.defect for s in part.samples], run.heatmaps // 2)
    patch_maps, truth = scored[PATCH_MAPS], bench.result(run.test.truth).arrays
    detector = bench.detector(run.variant.method)
    found = []
    for number, choice in enumerate(choose_images(scores, labels, threshold, run.heatmaps, common)):
        index, sample = choice.index, part.samples[choice.index]
        mask = truth_of(truth, index, index + 1).masks[0]
        size = mask.shape[0], mask.shape[1]
        anomaly_map = detector.anomaly_maps(patch_maps[index : index + 1], size, run.variant.params)[0]
        anomalous = bool(labels[index])
        contour = find_contour(anomaly_map, mask, threshold, anomalous=anomalous)
        caption = Caption(sample.identity, anomalous, float(scores[index]), threshold, contour)
        name = f"{number:02d}-{choice.why}-{_slug(sample.name)}.png"
        found.append(Pictured(name, choice.why, caption, scale, anomaly_map, mask, partial(_read, part, index, run)))
    return found


def recorded_pictures(folder: Path, identities: Iterable[str]) -> dict[Path, str]:
    """The pictures in a record's folder, each with the image that it shows.

    Args:
        folder: of the pictures.
        identities: of the images of the test part; unique as far as the names of files are.
    """
    by_slug = {_slug(name.partition("/")[2]): name for name in identities}
    found = {}
    for path in sorted(folder.glob("*.png")):
        image = next((by_slug[slug] for slug in _slugs(path.stem) if slug in by_slug), None)
        if image is not None:
            found[path] = image
    return found


def _read(part: Part, index: int, run: Run) -> Pixels:
    return resize_and_crop(part.read(index, run.variant.image).image, run.variant.image)


def _slug(name: str) -> str:
    """In a file's name, "broken_large-003" of an image "test/broken_large/003.png" of its category.

    Of a long one it is the end: the name of a file has at most 255 bytes.
    """
    stem = name.removeprefix("test/").rsplit(".", 1)[0].replace("/", "-")
    return stem.encode()[-_LONGEST_SLUG:].decode(errors="ignore")


def _slugs(stem: str) -> list[str]:
    """What may be the image in "00-lowest-anomaly-broken_large-003": everything after number and reason."""
    parts = stem.split("-")
    return ["-".join(parts[start:]) for start in range(2, len(parts))]
