"""Anomalous images without a mask, from the folder to the truth of a part: known to be anomalous, not where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.computing.truth import read_truth
from adloc.datasets.fingerprint import fingerprints
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.shift import ShiftConfig, apply_shift, draw_parameters
from adloc.datasets.split import SplitConfig
from adloc.datasets.transform import ImageConfig, resize_picture
from adloc.planning.parts import leaves_frame, make_parts
from adloc.planning.stages import TruthStage

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.datasets.sample import Sample
    from adloc.planning.parts import TestPart

SIZE = (16, 20)


@pytest.fixture(params=[None, ShiftConfig(), ShiftConfig(at="model")], ids=["clean", "native", "model"])
def part(mvtec_copy: Path, request: pytest.FixtureRequest) -> TestPart:
    """The test part of "gear", whose glares have no mask; clean, and shifted in both ways."""
    for mask in (mvtec_copy / "gear/ground_truth/glare").iterdir():
        mask.unlink()
    samples = list_category(mvtec_copy / "gear", masks="optional").samples
    return make_parts(samples, fingerprints(samples), SplitConfig(), request.param).test


@pytest.fixture
def glare(part: TestPart) -> Sample:
    """An image without a mask."""
    return next(sample for sample in part.samples if sample.defect == "glare")


def test_an_image_without_a_mask_is_anomalous_and_void(part: TestPart) -> None:
    """Its label stays, all its pixels count neither way; the other images have their masks."""
    truth = read_truth(TruthStage(part, ImageConfig(size=SIZE), SIZE)).arrays
    known = np.array([sample.defect != "glare" for sample in part.samples])
    assert np.array_equal(truth["known"], known)
    assert truth["labels"].tolist() == [sample.label == 1 for sample in part.samples]
    assert truth["void"][~known].all()
    assert not truth["masks"][~known].any()
    assert all(truth["masks"][i].any() for i, sample in enumerate(part.samples) if sample.defect == "hole")


def test_no_shift_and_no_resize_makes_a_mask(glare: Sample) -> None:
    """What was not known before is not known after."""
    picture = glare.source.read()
    assert picture.mask is None
    assert apply_shift(picture, draw_parameters(ShiftConfig(), glare.identity)).mask is None
    assert resize_picture(picture, ImageConfig(size=SIZE)).mask is None


def test_what_is_not_known_does_not_leave_the_frame(glare: Sample) -> None:
    """Dropping defects that a shift moves out keeps an image of which nobody knows where its defect is."""
    assert not leaves_frame(glare, ShiftConfig())
