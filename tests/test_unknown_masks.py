"""Anomalous images without a mask: image metrics see them, pixel metrics are over the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.compute import read_truth
from adloc.datasets.fingerprint import fingerprints
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.shift import ShiftConfig, apply_shift, draw_parameters
from adloc.datasets.split import SplitConfig
from adloc.datasets.transform import ImageConfig
from adloc.localisation import localise
from adloc.methods.detector import Result
from adloc.parts import make_parts
from adloc.stages import TruthStage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from adloc.parts import TestPart

SIZE = (16, 20)


@pytest.fixture
def part(mvtec_copy: Path) -> TestPart:
    """The test part of "gear", whose glares have no mask."""
    for mask in (mvtec_copy / "gear/ground_truth/glare").iterdir():
        mask.unlink()
    samples = list_category(mvtec_copy / "gear", masks="optional").samples
    return make_parts(samples, fingerprints(samples), SplitConfig(), None).test


def measure(part: TestPart, maps: NDArray[np.float32], truth: dict[str, NDArray[Any]], mode: str) -> dict[str, float]:
    """Pixel metrics of given maps, by a detector whose patch maps are its anomaly maps."""
    detector = SimpleNamespace(anomaly_maps=lambda patch_maps, _size, _params: np.asarray(patch_maps))
    stage = SimpleNamespace(
        mode=mode, truth=SimpleNamespace(part=part, size=SIZE), scores=SimpleNamespace(params=None, key="")
    )
    found = localise(stage, Result({"patch_maps": maps}), Result(truth), detector).metrics
    return {"auroc": found.auroc, "aupro": found.aupro, "aupro_005": found.aupro_005}


@pytest.mark.parametrize("mode", ["exact", "streaming"])
def test_pixel_metrics_are_over_the_images_whose_masks_are_known(part: TestPart, mode: str) -> None:
    """Whatever the maps of images without a mask say, the figures are those of the other images alone."""
    truth = read_truth(TruthStage(part, ImageConfig(size=SIZE), SIZE)).arrays
    known = np.array([sample.defect != "glare" for sample in part.samples])
    assert np.array_equal(truth["known"], known)
    assert truth["labels"].sum() == 6
    maps = np.random.default_rng(0).random((len(part), *SIZE), dtype=np.float32)
    maps[~known] += 10  # would be false alarms everywhere, were their masks taken for empty
    alone = {name: truth[name][known] for name in ("labels", "masks")}
    expected = measure(part, maps[known], alone, mode)
    assert measure(part, maps, truth, mode) == expected
    assert measure(part, maps, {name: truth[name] for name in alone}, mode) != expected


def test_a_part_with_all_masks_keeps_its_truth_as_it_was(mvtec_tree: Path) -> None:
    """Nothing is stored beside labels and masks, so what an earlier version kept is the same."""
    samples = list_category(mvtec_tree / "gear").samples
    part = make_parts(samples, fingerprints(samples), SplitConfig(), None).test
    assert set(read_truth(TruthStage(part, ImageConfig(size=SIZE), SIZE)).arrays) == {"labels", "masks"}


def test_the_shift_leaves_an_unknown_mask_unknown(part: TestPart) -> None:
    """Moved and lit as any other image; what was not known before is not known after."""
    sample = next(sample for sample in part.samples if not sample.mask_known)
    shifted = apply_shift(sample.source.read(), draw_parameters(ShiftConfig(), sample.identity))
    assert shifted.mask is None
    assert shifted.image.shape == sample.source.read().image.shape
