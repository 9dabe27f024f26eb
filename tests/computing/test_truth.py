"""Honest masks: void pixels, defects that vanish or leave the frame, masks that nobody drew, images of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from adloc.computing.truth import read_truth, truth_of, void_share
from adloc.datasets.sample import Fingerprint, Picture, Sample
from adloc.datasets.shift import ShiftConfig, draw_parameters, find_void, share_in_frame
from adloc.datasets.shift_pixels import affine_matrix
from adloc.datasets.split import SplitConfig
from adloc.datasets.transform import ImageConfig
from adloc.planning.parts import TestPart, leaves_frame, make_parts
from adloc.planning.stages import TruthStage
from adloc.study_file.evaluating import NATIVE

Box = tuple[int, int, int, int]  # top, bottom, left, right
SHIFT = ShiftConfig(seed=1)


@dataclass(frozen=True)
class Drawn:
    """An image with rectangles for defects; no mask at all where they are None."""

    size: tuple[int, int]
    boxes: tuple[Box, ...] | None = ()
    location: str = "nowhere"

    def read(self) -> Picture:
        """Grey, with the mask."""
        mask = np.zeros(self.size, dtype=bool)
        for top, bottom, left, right in self.boxes or ():
            mask[top:bottom, left:right] = True
        image = np.full((*self.size, 3), 127, np.uint8)
        return Picture(image, mask if self.boxes is not None else None)

    def fingerprint(self) -> Fingerprint:
        """Different for different images."""
        return Fingerprint(f"{self.size}{self.boxes}", "", *self.size)


def stage(
    sources: list[Drawn],
    size: tuple[int, int] | str = (32, 32),
    shift: ShiftConfig | None = None,
    image: ImageConfig | None = None,
) -> TruthStage:
    """The truth of a test part of these images; those without boxes are normal."""
    samples = tuple(
        Sample(
            "a", f"test/{'good' if s.boxes == () else 'hole'}/{i}.png", "test", "good" if s.boxes == () else "hole", s
        )
        for i, s in enumerate(sources)
    )
    prints = tuple(s.fingerprint() for s in sources)
    part = TestPart("a", "shift" if shift else "clean", samples, prints, shift)
    return TruthStage(part, image or ImageConfig(size=32), size)  # type: ignore[arg-type]  # "native" is a str here


@pytest.mark.parametrize("size", [(60, 90), (91, 40)])
@pytest.mark.parametrize("seed", range(4))
def test_void_pixels_are_those_that_come_from_outside(size: tuple[int, int], seed: int) -> None:
    """A pixel is void exactly where the inverse of the warp leads its centre out of the image."""
    height, width = size
    parameters = draw_parameters(ShiftConfig(seed=seed), "a")
    inverse = np.linalg.inv(affine_matrix(parameters, height, width))
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = (inverse @ np.stack((columns.ravel(), rows.ravel(), np.ones(rows.size))))[:2]
    near = 0.1  # the warp works in fractions of a pixel
    surely_in = (x > near) & (x < width - near) & (y > near) & (y < height - near)
    surely_out = (x < -near) | (x > width + near) | (y < -near) | (y > height + near)
    void = find_void(parameters, height, width).ravel()
    assert not void[surely_in].any()
    assert void[surely_out].all()
    assert 0.02 < void.mean() < 0.4


def test_no_defect_pixel_is_void_and_clean_images_have_no_void() -> None:
    """In the shift domain good images have void pixels too; no mask reaches into them."""
    sources = [Drawn((64, 48)), Drawn((64, 48), ((0, 64, 0, 48),))]
    clean, shifted = read_truth(stage(sources)).arrays, read_truth(stage(sources, shift=SHIFT)).arrays
    assert "void" not in clean
    assert void_share(clean) == 0
    assert shifted["void"][0].any()
    assert not (shifted["void"] & shifted["masks"]).any()
    # what is not void was all defect before the shift
    assert (shifted["void"][1] | shifted["masks"][1]).all()
    assert void_share(shifted) == pytest.approx(shifted["void"].mean())


def test_a_shift_that_moves_nothing_makes_no_void_and_no_new_key() -> None:
    """Light, blur and noise alone leave every pixel where it was: the truth is the one of earlier versions."""
    still = ShiftConfig(seed=1, rotation_deg=None, scale=None, translation=None)
    assert not still.moves
    assert not ShiftConfig(severity=0).moves
    assert SHIFT.moves
    assert ShiftConfig.model_validate({**still.model_dump(), "crop": {"area": [0.9, 1]}}).moves
    arrays = read_truth(stage([Drawn((32, 32), ((2, 9, 3, 9),))], shift=still)).arrays
    assert "void" not in arrays


def test_regions_that_vanish_are_counted() -> None:
    """One pixel of a large image has no pixel at a small evaluation size; the other regions keep theirs."""
    source = Drawn((320, 320), ((0, 1, 0, 1), (100, 200, 100, 200), (250, 251, 7, 8)))
    arrays = read_truth(stage([source, Drawn((320, 320))])).arrays
    assert arrays["regions"].tolist() == [3, 0]
    assert arrays["vanished"].tolist() == [2, 0]
    native = read_truth(stage([source], NATIVE)).arrays
    assert native["vanished"].tolist() == [0]


def test_what_the_crop_cuts_off_has_vanished() -> None:
    """A region outside of what the model sees is as lost as one that is too small."""
    source = Drawn((64, 64), ((0, 4, 0, 4), (30, 40, 30, 40)))
    arrays = read_truth(stage([source], (16, 16), image=ImageConfig(size=32, crop=16))).arrays
    assert arrays["vanished"].tolist() == [1]


def test_the_share_left_in_the_frame_is_the_geometrys() -> None:
    """A shift to the right by a tenth of the width takes with it what lay in the last tenth."""
    moved = replace(draw_parameters(ShiftConfig(severity=0), "a"), translate_x=0.1)
    mask = np.zeros((20, 100), dtype=bool)
    mask[:, 80:] = True
    assert share_in_frame(mask, moved) == 0.5
    mask[:, 80:90] = False
    assert share_in_frame(mask, moved) == 0
    assert math.isnan(share_in_frame(np.zeros((4, 4), dtype=bool), moved))


def test_an_anomalous_image_without_a_mask_is_void_as_a_whole() -> None:
    """Nobody said where its defect is: its pixels count neither way, and it is counted as unknown."""
    arrays = read_truth(stage([Drawn((32, 32)), Drawn((32, 32), None), Drawn((32, 32), ((1, 5, 1, 5),))])).arrays
    assert arrays["known"].tolist() == [True, False, True]
    assert arrays["void"].all(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("shift", [None, SHIFT])
def test_native_truth_is_each_images_own(shift: ShiftConfig | None) -> None:
    """Masks and void pixels come back at every image's own size, as they are in its domain."""
    sources = [Drawn((31, 17), ((3, 9, 2, 8),)), Drawn((40, 64)), Drawn((9, 9), ((0, 9, 0, 9),))]
    made = stage(sources, NATIVE, shift)
    arrays = read_truth(made).arrays
    for index, source in enumerate(sources):
        found = truth_of(arrays, index, index + 1)
        expected = made.part.read(index, made.image).mask
        np.testing.assert_array_equal(found.masks[0], expected)
        drawn = made.part.shifts[index]
        if drawn is not None:
            assert found.void is not None
            np.testing.assert_array_equal(found.void[0], find_void(drawn, *source.size))
    n_bits = sum(-(-h * w // 8) for h, w in (s.size for s in sources))
    assert arrays["masks"].nbytes == n_bits


def test_a_shift_at_the_models_size_is_applied_after_the_resize() -> None:
    """The shifted picture has the model's size, and its noise is not averaged away; the name of its pixels changes."""
    noisy = ShiftConfig.model_validate(
        {"rotation_deg": None, "scale": None, "translation": None, "blur": None, "illumination": None,
         "brightness": None, "contrast": None, "saturation": None,
         "noise": {"probability": 1, "sigma": [0.05, 0.05]}}
    )  # fmt: skip
    source, image = Drawn((512, 512), ((0, 100, 0, 100),)), ImageConfig(size=32)
    native, model = (stage([source], shift=noisy.model_copy(update={"at": at})).part for at in ("native", "model"))
    assert native.image_keys != model.image_keys
    assert native.image_keys == stage([source], shift=noisy).part.image_keys
    shown = model.read(0, image)
    assert shown.image.shape == (32, 32, 3)
    assert shown.mask.sum() == pytest.approx(100 * 100 / 16**2, rel=0.2)
    assert np.std(shown.image) == pytest.approx(0.05 * 255, rel=0.1)
    from adloc.datasets.transform import resize_and_crop

    assert np.std(resize_and_crop(native.read(0, image).image, image)) < 0.02 * 255


def left_out(sample: Sample) -> bool:
    """By the geometry: the defect's one pixel is mapped out of the image."""
    height, width = 40, 40
    ((top, _, left, _),) = sample.source.boxes  # type: ignore[attr-defined]  # a Drawn
    matrix = affine_matrix(draw_parameters(SHIFT, sample.identity), height, width)
    x, y, _ = matrix @ (left + 0.5, top + 0.5, 1)
    return not (0 <= x < width and 0 <= y < height)


def test_images_whose_defect_left_the_frame_are_dropped_on_request() -> None:
    """Only from the test part, only with the option; the other images and their keys stay."""
    sources = [Drawn((40, 40), ((0, 1, i, i + 1),)) for i in range(30)]
    samples = [Sample("a", f"test/hole/{i}.png", "test", "hole", s) for i, s in enumerate(sources)]
    samples += [Sample("a", f"train/good/{i}.png", "train", "good", Drawn((40, 41 + i))) for i in range(5)]
    prints = {s.identity: replace(s.source.fingerprint(), sha256=s.identity) for s in samples}
    config = SplitConfig(validation_defects=0.3)
    kept = make_parts(samples, prints, config, SHIFT)
    dropped = make_parts(samples, prints, config, SHIFT.model_copy(update={"drop_vanished": True}))
    expected = tuple(s for s in kept.test.samples if not left_out(s))
    assert 0 < len(expected) < len(kept.test.samples)
    assert dropped.test.samples == expected
    assert dropped.validation.samples == kept.validation.samples
    assert set(dropped.test.image_keys) < set(kept.test.image_keys)
    assert not leaves_frame(samples[-1], SHIFT)


def test_the_void_share_hardly_depends_on_the_evaluation_size() -> None:
    """At half the size, the image's own, and its own bit by bit: the same share, up to the rounding of its border."""
    shares = [
        void_share(read_truth(stage([Drawn((400, 400))], s, SHIFT)).arrays) for s in ((50, 50), (400, 400), NATIVE)
    ]
    assert shares == pytest.approx([shares[1]] * 3, abs=0.01)
