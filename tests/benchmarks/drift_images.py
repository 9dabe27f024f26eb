"""Scores and statistics of real streams for `drift.py`: normal images that no model was fitted on, clean and shifted.

Notation: H normal images that are held out, D defective ones, S statistics, V draws of the shift.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.datasets import load_samples
from adloc.datasets.shift_config import ShiftConfig
from adloc.datasets.transform import ImageConfig, prepare_image, resize_and_crop
from adloc.drift.statistics import PIXEL_STATISTICS, feature_names, feature_statistics, pixel_statistics
from adloc.methods import find_method, load_detector
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import StepContext
from adloc.methods.network import load_backbone
from adloc.planning.parts import in_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from adloc.datasets.config import KindConfig
    from adloc.datasets.sample import Sample
    from adloc.methods.detector import Result

SEVERITIES = (0.25, 0.5, 0.75, 1.0)
IMAGE = ImageConfig(size=128)
LAYERS = ("layer1", "layer2", "layer3")
METHODS: Mapping[str, tuple[str, ...]] = {"patchcore": ("layer2", "layer3"), "padim": LAYERS}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Features:
    """Features in memory; see `adloc.methods.detector.Features`."""

    maps: Mapping[str, Tensor]
    image_size: tuple[int, int] = IMAGE.input_size

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return len(next(iter(self.maps.values())))

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, Tensor]]:
        """Yield consecutive images."""
        for start in range(0, self.n_images, batch_size):
            yield {layer: self.maps[layer][start : start + batch_size] for layer in layers}


@dataclass(frozen=True)
class Domain:
    """The held-out images at one severity.

    Attributes:
        normal: float64 (V, H, S), scores first, by the model that was fitted on clean images; V is 1 when clean.
        defect_scores: (D,), of the same model; one draw of the shift.
        refitted_normal: (H,), scores by a model that was fitted on images shifted alike; one draw.
        refitted_defects: (D,), of that model.
    """

    normal: NDArray[np.float64]
    defect_scores: NDArray[np.float64]
    refitted_normal: NDArray[np.float64]
    refitted_defects: NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """One category by one method.

    Attributes:
        names: of the S statistics.
        by_severity: 0 is clean.
    """

    names: tuple[str, ...]
    by_severity: Mapping[float, Domain]

    def save(self, path: Path) -> None:
        """Write all of it, to spare the minutes next time."""
        arrays = {
            f"{level:g}/{name}": array for level, d in self.by_severity.items() for name, array in asdict(d).items()
        }
        np.savez(path, names=np.array(self.names), **arrays)

    @classmethod
    def load(cls, path: Path) -> Scored:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            domains = {
                level: Domain(**{name: arrays[f"{level:g}/{name}"] for name in Domain.__dataclass_fields__})
                for level in (0.0, *SEVERITIES)
            }
            return cls(tuple(arrays["names"].tolist()), domains)


def score_category(config: KindConfig, weights: Path, n_fit: int, draws: int) -> dict[str, Scored]:
    """Fit PatchCore and PaDiM on n_fit normal images of the one category, clean and shifted, and score the others.

    Args:
        config: of the dataset.
        weights: of ResNet-18.
        n_fit: normal images fitted on, of train/good, drawn from a fixed seed.
        draws: of the shift for the stream.
    """
    samples = load_samples(config)
    normals = sorted((s for s in samples if s.label == 0), key=lambda s: (s.origin != "train", s.identity))
    n_train = sum(s.origin == "train" for s in normals)
    order = np.random.default_rng(0).permutation(n_train)
    fitted = [normals[i] for i in order[:n_fit]]
    held_out = [normals[i] for i in order[n_fit:]] + normals[n_train:]
    defects = [s for s in samples if s.label == 1]
    file = resolve_weights("resnet18", str(weights))
    network = load_backbone("resnet18", file, LAYERS, 0, CPU)

    def look(group: Sequence[Sample], shift: ShiftConfig | None) -> tuple[Features, NDArray[np.float64]]:
        pixels, maps = [], []
        for sample in group:
            picture = in_domain(sample.source.read(), sample, shift, IMAGE)
            pixels.append(resize_and_crop(picture.image, IMAGE))
            maps.append(network(torch.from_numpy(prepare_image(picture.image, IMAGE))[None]))
        return Features({n: torch.cat([m[n] for m in maps]) for n in LAYERS}), pixel_statistics(np.stack(pixels))

    found: dict[str, dict[float, Domain]] = {method: {} for method in METHODS}
    clean = look(fitted, None)[0]
    fits = {method: fit(method, clean, weights) for method in METHODS}
    for severity in (0.0, *SEVERITIES):
        shifts = [ShiftConfig(severity=severity, seed=seed) if severity else None for seed in range(1, draws + 1)]
        streams = [look(held_out, shift) for shift in (shifts if severity else [None])]
        faulty, _ = look(defects, shifts[0])
        refitted = look(fitted, ShiftConfig(severity=severity))[0] if severity else clean
        for method, layers in METHODS.items():
            score, again = fits[method], fit(method, refitted, weights)
            normal = [
                np.column_stack([score(maps), pixels, feature_statistics({n: maps.maps[n].numpy() for n in layers})])
                for maps, pixels in streams
            ]
            found[method][severity] = Domain(np.stack(normal), score(faulty), again(streams[0][0]), again(faulty))
    return {
        method: Scored(("score", *PIXEL_STATISTICS, *feature_names(METHODS[method])), by_severity)
        for method, by_severity in found.items()
    }


def fit(name: str, train: Features, weights: Path) -> Callable[[Features], NDArray[np.float64]]:
    """Fit a method; what scores images by it, float64 (N,)."""
    method = find_method(name)
    params = method.params.model_validate({"backbone": "resnet18", "weights": str(weights), "layers": METHODS[name]})
    detector = load_detector(method)

    def run(part: str, features: Features, results: dict[str, Result]) -> dict[str, Result]:
        for step in method.steps:
            if step.part == part:
                context = StepContext(params, features, dict(results), 0, CPU)
                results[step.name] = getattr(detector, step.name)(context)
        return results

    fitted = run("fit", train, {})

    def score(features: Features) -> NDArray[np.float64]:
        return np.asarray(
            run("score", features, dict(fitted))[method.steps[-1].name].arrays["image_scores"], np.float64
        )

    return score
