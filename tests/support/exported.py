"""An exported model without a study: the mean of flat grey images, written as a study's model would be."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from adloc.datasets.transform import ImageConfig
from adloc.methods.detector import Result
from adloc.methods.floor.params import FloorParams
from adloc.model.folder import Judged, write_fit, write_reference, write_spec
from adloc.model.selftest import Case, SelfTest, encode, write_selftest
from adloc.model.spec import ModelSpec, Origin, Reference, Scale, StepFacts, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GREY = 51  # of the mean image: .2
HEIGHT, WIDTH = 24, 32
PARAMS = FloorParams(unit="grey_level", image_score="max", smoothing_sigma=0)


def score_of(grey: int) -> float:
    """What the model says of a flat image: how far its grey is from the mean's, in shares of white."""
    return abs(grey - GREY) / 255


def write_model(
    folder: Path,
    *,
    threshold: float | None = 0.1,
    pixel: float | None = 0.1,
    normal: Sequence[float] = (0.01, 0.02, 0.03, 0.04),
    anomalous: Sequence[float] = (),
    hashes: Sequence[str] = (),
    scale: Scale | None = Scale(low=0.0, high=0.5),  # noqa: B008  frozen
    **spec: Any,
) -> Path:
    """A folder that `read_model` reads."""
    folder.mkdir(parents=True)
    mean = np.full((3, HEIGHT, WIDTH), GREY / 255, np.float32)
    fit = {"mean_image": Result({"mean": mean, "variance": np.zeros_like(mean)}, {"n_images": 4})}
    scores = np.array([*normal, *anomalous], np.float32)
    labels = np.arange(len(scores)) >= len(normal)
    write_fit(folder, fit, hashes)
    reference = write_reference(folder, Judged(scores, labels, np.zeros((len(scores), 0))))
    flat = encode(np.full((HEIGHT, WIDTH, 3), GREY, np.uint8))
    case = Case(name="flat", anomalous=False, recorded=0.0, replayed=0.0, png=flat)
    write_selftest(folder, SelfTest(machine={}, cases=(case,)))
    values = {
        "origin": Origin(
            study="grey", run_id="part-floor-1", key="k", category="part", regime="clean", scope="category",
            threshold_scope="category", repeat=0, setting="floor", domain="clean", n_train=4,
        ),
        "method": "floor", "method_code": "", "params": PARAMS.model_dump(mode="json"), "seed": 0,
        "image": ImageConfig(size=(HEIGHT, WIDTH)), "dtype": "float32", "engine": "torch", "backbone": None,
        "threshold": Threshold(image=threshold, pixel=pixel, objective="f1", source="made up", n_normal=len(normal)),
        "scale": scale,
        "reference": Reference(
            file=reference, source="made up", n_normal=len(normal), n_anomalous=len(anomalous), statistics=()
        ),
        "steps": {"mean_image": StepFacts(arrays=("mean", "variance"), facts={"n_images": 4})},
        "files": {}, "versions": {}, "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    write_spec(folder, ModelSpec(**values | spec))
    return folder


def draw(path: Path, grey: int = GREY, *, spot: int | None = None) -> Path:
    """A flat picture of that grey; with a spot of another one near its upper left corner."""
    pixels = np.full((HEIGHT, WIDTH, 3), grey, np.uint8)
    if spot is not None:
        pixels[4:16, 6:22] = spot
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def reseal(folder: Path) -> None:
    """Make the hashes and the check of a changed model right again, as whoever means harm would."""
    place = folder / "model.json"
    spec = ModelSpec.model_validate_json(place.read_bytes())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in spec.files}
    place.write_text(spec.model_copy(update={"files": files}).sealed().model_dump_json())
