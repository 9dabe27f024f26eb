"""anomalib's PatchCore and PaDiM beside adloc's: the same network, the same bottles, image by image.

What differs, and why:
- Image scores do not. With every patch in the bank, anomalib's PatchCore gives what `reweight: max_patch` gives
  (equation 7 of the paper); PaDiM's maximum of the blurred map is adloc's.
- PatchCore's maps do, by up to 3 % of the largest value: anomalib repeats a patch's score over its cell before the
  blur, adloc goes over from one to the next linearly. The patches' distances are the same, and with its generator so
  are the maps.
- A coreset of less than every patch begins at another patch, so its entries are others: see the benchmarks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from adloc.methods import METHODS, load_detector
from adloc.methods.anomalib.params import ANOMALIB, AnomalibParams
from adloc.methods.backbone import resolve_weights
from adloc.methods.detector import ImageContext
from adloc.methods.network import load_backbone
from detectors import CPU, HeldFeatures, HeldImages, take

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.methods.detector import Arrays

pytestmark = pytest.mark.slow
SIDE, LAYERS = 128, ("layer1", "layer2", "layer3")


@pytest.fixture(scope="module")
def bottles(industrial_root: Path) -> tuple[HeldImages, HeldImages]:
    """Twelve good bottles, and six good and six broken ones."""

    def read(paths: list[Path]) -> HeldImages:
        pixels = np.stack([np.asarray(Image.open(p).convert("RGB").resize((SIDE, SIDE))) for p in paths])
        return HeldImages(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32)).contiguous() / 255)

    bottle = industrial_root / "bottle"
    good = sorted((bottle / "test" / "good").iterdir())[:6]
    broken = sorted((bottle / "test" / "broken_small").iterdir())[:6]
    return read(sorted((bottle / "train" / "good").iterdir())[:12]), read(good + broken)


def theirs(model: str, arguments: dict[str, object], bottles: tuple[HeldImages, HeldImages], weights: Path) -> Arrays:
    """Scores and maps of a model of anomalib."""
    params = AnomalibParams.model_validate(
        {"model": model, "backbone": "resnet18", "weights": str(weights), "batch_size": 4, "arguments": arguments}
    )
    detector = load_detector(ANOMALIB)
    trained = detector.training(ImageContext(params, bottles[0], {}, 7, CPU, weights))  # type: ignore[attr-defined]
    context = ImageContext(params, bottles[1], {"training": trained}, 7, CPU, weights)
    return detector.scores(context).arrays  # type: ignore[attr-defined, no-any-return]


def ours(
    name: str, values: dict[str, object], bottles: tuple[HeldImages, HeldImages], weights: Path
) -> tuple[Arrays, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Scores and patch maps of a method of adloc, and its anomaly maps."""
    network = load_backbone("resnet18", resolve_weights("resnet18", str(weights)), LAYERS, 0, CPU)
    train, test = (HeldFeatures(network(part.pixels), (SIDE, SIDE)) for part in bottles)
    method = METHODS[name]
    params = method.params.model_validate({"backbone": "resnet18", "weights": str(weights), **values})
    found = take(method, params, train, test)["scores"].arrays
    maps = load_detector(method).anomaly_maps(np.asarray(found["patch_maps"]), (SIDE, SIDE), params)
    return found, maps


def test_patchcore_scores_images_as_anomalibs_does(bottles: tuple[HeldImages, HeldImages], trunk_weights: Path) -> None:
    """With every patch in the bank each image has the same score, to single precision."""
    arguments: dict[str, object] = {"layers": ["layer2", "layer3"], "coreset_sampling_ratio": 1.0}
    peer = theirs("Patchcore", arguments, bottles, trunk_weights)
    values = {"layers": ["layer2", "layer3"], "coreset_ratio": 1.0, "reweight": "max_patch", "smoothing_sigma": 4.0}
    found, maps = ours("patchcore", values, bottles, trunk_weights)
    np.testing.assert_allclose(found["image_scores"], peer["image_scores"], rtol=1e-4)
    # Its maps from adloc's distances: each repeated over its cell, then blurred.
    from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator

    plain, _ = ours("patchcore", values | {"reweight": "none"}, bottles, trunk_weights)
    patches = torch.from_numpy(np.array(plain["patch_maps"])).unsqueeze(1)
    repeated = functional.interpolate(patches, (SIDE, SIDE), mode="nearest")
    np.testing.assert_allclose(
        AnomalyMapGenerator(sigma=4).blur(repeated).squeeze(1), peer["patch_maps"], rtol=1e-3, atol=1e-4
    )
    assert np.abs(maps - peer["patch_maps"]).max() < 0.03 * peer["patch_maps"].max()


def test_padim_scores_images_and_pixels_as_anomalibs_does(
    bottles: tuple[HeldImages, HeldImages], trunk_weights: Path
) -> None:
    """With every channel kept, so that none is drawn, scores and maps are the same to single precision."""
    n_channels = 64 + 128
    arguments: dict[str, object] = {"layers": ["layer1", "layer2"], "n_features": n_channels}
    peer = theirs("Padim", arguments, bottles, trunk_weights)
    found, maps = ours("padim", {"layers": ["layer1", "layer2"], "n_features": n_channels}, bottles, trunk_weights)
    np.testing.assert_allclose(found["image_scores"], peer["image_scores"], rtol=1e-4)
    np.testing.assert_allclose(maps, peer["patch_maps"], rtol=1e-3, atol=1e-3)
