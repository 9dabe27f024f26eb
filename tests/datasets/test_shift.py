"""MVTec-Shift: the draws, and the geometry and light of the shifted picture."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from pydantic import ValidationError
from scipy import ndimage, stats

from adloc.datasets.sample import Picture
from adloc.datasets.shift import ShiftConfig, apply_shift, draw_parameters
from adloc.datasets.shift_config import AXES
from adloc.datasets.shift_parameters import ShiftParameters
from adloc.datasets.shift_pixels import affine_matrix, shade_map

if TYPE_CHECKING:
    from pathlib import Path

N_DRAWS = 2000
PHOTOMETRIC = ("brightness", "contrast", "saturation", "blur", "noise", "illumination")
NOTHING = ShiftParameters(
    rotation_deg=0,
    scale=1,
    crop_left=0,
    crop_top=0,
    crop_width=1,
    crop_height=1,
    translate_x=0,
    translate_y=0,
    brightness=1,
    contrast=1,
    saturation=1,
    blur_kernel=3,
    blur_sigma=0,
    noise_sigma=0,
    noise_seed=0,
    shade="none",
    shade_strength=0,
    shade_sigma_px=0,
    spot_x=0.5,
    spot_y=0.5,
    fill="reflect",
    fill_value=(0, 0, 0),
)


def shift_by(**fields: object) -> ShiftParameters:
    """Parameters that do nothing but what is given."""
    return replace(NOTHING, **fields)  # type: ignore[arg-type]  # each test gives fields of their own types


def noise_picture(height: int = 60, width: int = 90) -> Picture:
    """Random colours, with a random mask."""
    generator = np.random.default_rng(height * 1000 + width)
    image = generator.integers(0, 200, (height, width, 3), dtype=np.uint8)
    return Picture(image, generator.random((height, width)) < 0.3)


def smooth_picture(height: int, width: int) -> Picture:
    """Soft colours, so that a small difference in position is a small difference in value."""
    noise = np.random.default_rng(7).random((height, width, 3))
    soft = ndimage.gaussian_filter(noise, (6, 6, 0))
    soft = (soft - soft.min()) / (soft.max() - soft.min())
    return Picture((soft * 255).round().astype(np.uint8), np.zeros((height, width), dtype=bool))


@pytest.fixture(scope="module")
def draws() -> list[ShiftParameters]:
    """The default preset's draws for 2,000 images."""
    config = ShiftConfig()
    return [draw_parameters(config, f"bottle/test/good/{i:03}.png") for i in range(N_DRAWS)]


@given(height=st.integers(1, 70), width=st.integers(1, 70), identity=st.text(max_size=20))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("preset", ["mvtec_shift", "mvtec_shift_proposal"])
def test_severity_zero_is_the_identity(preset: str, height: int, width: int, identity: str) -> None:
    """At severity 0 every image and mask comes back bit for bit, in both presets."""
    config = ShiftConfig.model_validate({"preset": preset, "severity": 0})
    picture = noise_picture(height, width)
    shifted = apply_shift(picture, draw_parameters(config, identity))
    np.testing.assert_array_equal(shifted.image, picture.image)
    np.testing.assert_array_equal(shifted.mask, picture.mask)


@given(
    rotation=st.floats(-180, 180),
    scale=st.floats(0.5, 2),
    left=st.floats(0, 0.2),
    share=st.floats(0.6, 0.8),
    right=st.floats(-0.2, 0.2),
    down=st.floats(-0.2, 0.2),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("size", [(90, 130), (131, 64)])
def test_mask_follows_the_defect(  # hypothesis fills them in
    size: tuple[int, int], rotation: float, scale: float, left: float, share: float, right: float, down: float
) -> None:
    """The warped mask covers the warped defect, on images that are not square, for any affine shift."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    mask = (np.abs(x - 0.55 * width) < 13) & (np.abs(y - 0.45 * height) < 9)
    image = np.full((height, width, 3), (0, 90, 0), dtype=np.uint8)
    image[mask] = (255, 90, 0)
    moved = shift_by(
        rotation_deg=rotation,
        scale=scale,
        crop_left=left,
        crop_width=share,
        translate_x=right,
        translate_y=down,
        fill="constant",
    )
    shifted = apply_shift(Picture(image, mask), moved)
    seen = shifted.image[..., 0] > 127
    n_union = int((seen | shifted.mask).sum())
    # The two round the border of the defect differently: up to one pixel along it.
    assert int((seen ^ shifted.mask).sum()) <= 0.1 * n_union + 4


@pytest.mark.parametrize("fill", ["reflect", "constant"])
@pytest.mark.parametrize("size", [(80, 80), (61, 120), (121, 50)])
def test_warp_matches_scipy(fill: str, size: tuple[int, int]) -> None:
    """The image warp is scipy's bilinear affine transform with the same border, in every pixel."""
    height, width = size
    picture = smooth_picture(height, width)
    moved = shift_by(
        rotation_deg=8.5,
        scale=0.93,
        translate_x=0.07,
        translate_y=-0.04,
        fill=fill,
        fill_value=(9, 99, 199),
    )
    # The mathematics again, in (row, column) and from output to input, about the centre of the pixel grid.
    angle = math.radians(8.5)
    inverse = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / 0.93
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre - inverse @ (centre + np.array([-0.04 * height, 0.07 * width]))
    mode = "mirror" if fill == "reflect" else "constant"
    expected = np.stack(
        [
            ndimage.affine_transform(
                picture.image[..., c].astype(float),
                inverse,
                offset,
                order=1,
                mode=mode,
                cval=moved.fill_value[c],
            )
            for c in range(3)
        ],
        axis=-1,
    )
    difference = np.abs(apply_shift(picture, moved).image - expected)
    if fill == "constant":  # scipy does not blend with the constant over the last half pixel
        inside = ndimage.affine_transform(np.ones(size), inverse, offset, order=1, cval=0) > 0.999
        difference = difference[ndimage.binary_erosion(inside, iterations=2, border_value=1)]
    assert difference.max() < 2


def test_positive_rotation_is_counter_clockwise() -> None:
    """By +90 degrees, what was right of the centre is above it, as NumPy's rot90 turns an image."""
    picture = noise_picture(40, 40)
    shifted = apply_shift(picture, shift_by(rotation_deg=90))
    np.testing.assert_array_equal(shifted.image, np.rot90(picture.image))
    np.testing.assert_array_equal(shifted.mask, np.rot90(picture.mask))


def test_translation_is_a_share_of_each_side() -> None:
    """A tenth moves a 50 x 200 image by 20 columns and 5 rows, exactly."""
    picture = noise_picture(50, 200)
    shifted = apply_shift(picture, shift_by(translate_x=0.1, translate_y=0.1))
    np.testing.assert_array_equal(shifted.image[5:, 20:], picture.image[:-5, :-20])
    np.testing.assert_array_equal(shifted.mask[5:, 20:], picture.mask[:-5, :-20])


def test_crop_becomes_the_whole_image() -> None:
    """The corners of the kept part go to the corners of the image, the sides each by their own share."""
    part = shift_by(crop_left=0.1, crop_top=0.05, crop_width=0.8, crop_height=0.9)
    matrix = affine_matrix(part, height=100, width=300)
    corners = np.array([[30, 5, 1], [270, 95, 1]]).T
    np.testing.assert_allclose(matrix @ corners, np.array([[0, 0, 1], [300, 100, 1]]).T, atol=1e-9)


def test_no_defect_comes_in_from_outside() -> None:
    """What the shift brings in from outside the image is never marked, though the reflection may show it."""
    picture = Picture(noise_picture(50, 50).image, np.ones((50, 50), dtype=bool))
    shifted = apply_shift(picture, shift_by(translate_x=0.2))
    assert not shifted.mask[:, :10].any()
    assert shifted.mask[:, 10:].all()


@pytest.mark.parametrize(
    ("field", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_colour_factors_match_pillow(
    field: str,
    enhance: type[ImageEnhance.Brightness | ImageEnhance.Contrast | ImageEnhance.Color],
    factor: float,
) -> None:
    """Brightness, contrast and saturation are Pillow's, within its rounding to whole levels."""
    picture = noise_picture()
    expected = np.asarray(enhance(Image.fromarray(picture.image)).enhance(factor), dtype=int)
    shifted = apply_shift(picture, shift_by(**{field: factor}))
    assert np.abs(shifted.image - expected).max() <= 1


def test_blur_is_a_truncated_gaussian() -> None:
    """A blurred point is the normalised Gaussian of sigma on the kernel's square, and nothing beyond."""
    image = np.zeros((11, 11, 3), dtype=np.uint8)
    image[5, 5] = 255
    shifted = apply_shift(Picture(image, np.zeros((11, 11), dtype=bool)), shift_by(blur_kernel=5, blur_sigma=1.3))
    profile = np.exp(-0.5 * (np.arange(-2, 3) / 1.3) ** 2)
    profile /= profile.sum()
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = 255 * np.outer(profile, profile)
    assert np.abs(shifted.image[..., 1] - expected).max() <= 0.51


def test_noise_is_normal_with_its_sigma() -> None:
    """On a mid-grey colour image the noise has mean 0, the asked deviation, and a normal distribution."""
    image = np.full((200, 200, 3), (128, 128, 127), dtype=np.uint8)
    shifted = apply_shift(Picture(image, np.zeros((200, 200), dtype=bool)), shift_by(noise_sigma=0.05))
    noise = (shifted.image.astype(float) - image) / 255
    assert abs(noise.mean()) < 4 * 0.05 / math.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    assert abs(stats.kurtosis(noise.ravel())) < 0.1
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_noise_depends_on_its_seed_alone() -> None:
    """The same parameters give the same noise, another noise seed other noise."""
    picture, noisy = noise_picture(), shift_by(noise_sigma=0.05)
    first = apply_shift(picture, noisy).image
    np.testing.assert_array_equal(first, apply_shift(picture, noisy).image)
    assert (first != apply_shift(picture, replace(noisy, noise_seed=1)).image).mean() > 0.5


def test_grey_stays_grey() -> None:
    """A picture of three equal channels still has them after every transform."""
    grey = np.repeat(noise_picture().image[..., :1], 3, axis=2)
    everything = {"probability": 1.0}
    config = ShiftConfig.model_validate({"blur": everything, "noise": everything, "illumination": everything})
    shifted = apply_shift(Picture(grey, np.zeros(grey.shape[:2], dtype=bool)), draw_parameters(config, "a"))
    np.testing.assert_array_equal(shifted.image[..., 0], shifted.image[..., 1])
    np.testing.assert_array_equal(shifted.image[..., 0], shifted.image[..., 2])


def test_grey_and_colour_go_the_same_way() -> None:
    """One plane for grey is only a short cut: one coloured pixel more, and the rest is shifted the same."""
    grey = np.repeat(noise_picture(40, 40).image[..., :1], 3, axis=2)
    grey[0, 0] = 100
    coloured = grey.copy()
    coloured[0, 0, 0] += 1
    mask = np.zeros((40, 40), dtype=bool)
    config = ShiftConfig.model_validate({"noise": None, "illumination": {"probability": 1}})
    parameters = draw_parameters(config, "a")
    one, three = (
        apply_shift(Picture(grey, mask), parameters),
        apply_shift(Picture(coloured, mask), parameters),
    )
    assert np.abs(one.image.astype(int) - three.image).max() <= 1


@pytest.mark.parametrize("shade", ["left", "right", "top", "bottom", "centre", "rim", "spot"])
@pytest.mark.parametrize("size", [(300, 450), (200, 77)])
def test_shade_map_is_the_smoothed_gradient(shade: str, size: tuple[int, int]) -> None:
    """The map made on a coarse grid is the full-size gradient under scipy's 80 px Gaussian, within 0.01."""
    shaded = shift_by(shade=shade, shade_strength=0.7, shade_sigma_px=80, spot_x=0.3, spot_y=0.6)
    sharp = shade_map(replace(shaded, shade_sigma_px=0), *size).astype(np.float64)
    expected = ndimage.gaussian_filter(sharp, 80, mode="reflect")
    assert np.abs(shade_map(shaded, *size) - expected).max() < 0.01


def test_linear_shade_darkens_its_edge() -> None:
    """Unsmoothed, the factor runs from 1 - strength at the darkened edge to 1 at the opposite one."""
    shaded = shift_by(shade="left", shade_strength=0.6)
    np.testing.assert_allclose(shade_map(shaded, 3, 1000)[:, [0, -1]], [[0.4, 1.0]] * 3, atol=1e-3)
    for other, turns in (("bottom", 1), ("right", 2), ("top", 3)):
        turned = shade_map(shift_by(shade=other, shade_strength=0.6), *((1000, 3) if turns % 2 else (3, 1000)))
        np.testing.assert_allclose(turned, np.rot90(shade_map(shaded, 3, 1000), turns), atol=1e-6)


@given(
    shade=st.sampled_from(["left", "right", "top", "bottom", "centre", "rim", "spot"]),
    strength=st.floats(0, 1),
    sigma=st.floats(0, 200),
    height=st.integers(1, 120),
    width=st.integers(1, 120),
)
@settings(max_examples=60, deadline=None)
def test_shade_stays_between_zero_and_one(shade: str, strength: float, sigma: float, height: int, width: int) -> None:
    """Light is only ever lost, and never more than all of it."""
    shaded = shift_by(shade=shade, shade_strength=strength, shade_sigma_px=sigma)
    factors = shade_map(shaded, height, width)
    assert factors.shape == (height, width)
    assert factors.min() >= 0
    assert factors.max() <= 1


def test_light_shows_in_the_image_and_not_in_the_mask() -> None:
    """Photometric changes leave every mask as it was."""
    picture = noise_picture()
    off = dict.fromkeys(("rotation_deg", "scale", "translation"))
    shifted = apply_shift(picture, draw_parameters(ShiftConfig.model_validate(off), "a"))
    np.testing.assert_array_equal(shifted.mask, picture.mask)
    assert (shifted.image != picture.image).any()


def test_same_draw_in_another_process_and_order() -> None:
    """Parameters come from (seed, identity) alone: another process, asking in reverse, draws the same."""
    identities = [f"carpet/test/hole/{i:03}.png" for i in range(20)]
    here = {name: asdict(draw_parameters(ShiftConfig(), name)) for name in identities}
    program = (
        "import json; from dataclasses import asdict; from adloc.datasets.shift import *\n"
        f"names = {identities[::-1]}\n"
        "print(json.dumps({n: asdict(draw_parameters(ShiftConfig(), n)) for n in names}))"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == json.loads(json.dumps(here))


def test_every_image_and_seed_has_its_own_shift(draws: list[ShiftParameters]) -> None:
    """No two of 2,000 images share a rotation, and another seed changes them all."""
    assert len({p.rotation_deg for p in draws}) == N_DRAWS
    other = ShiftConfig(seed=43)
    for i in range(20):
        assert draw_parameters(other, f"bottle/test/good/{i:03}.png").rotation_deg != draws[i].rotation_deg


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("rotation_deg", -10, 10),
        ("scale", 0.9, 1.0),
        ("translate_x", -0.1, 0.1),
        ("translate_y", -0.1, 0.1),
        ("brightness", 0.7, 1.3),
        ("contrast", 0.7, 1.3),
        ("saturation", 0.7, 1.3),
        ("blur_sigma", 0.1, 2.0),
        ("noise_sigma", 0.01, 0.05),
        ("shade_strength", 0.4, 0.7),
    ],
)
def test_values_are_uniform_in_the_protocols_range(
    draws: list[ShiftParameters], field: str, low: float, high: float
) -> None:
    """Each value of `mvtec_shift` stays in the published range and fills it evenly (Kolmogorov-Smirnov)."""
    values = np.array([getattr(p, field) for p in draws])
    if field in {"blur_sigma", "noise_sigma", "shade_strength"}:
        values = values[values > 0]
    assert values.min() >= low
    assert values.max() <= high
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize("field", ["blur_sigma", "noise_sigma", "shade_strength"])
def test_half_of_the_images_are_changed(draws: list[ShiftParameters], field: str) -> None:
    """Blur, noise and illumination each happen to one image in two."""
    n_changed = sum(getattr(p, field) > 0 for p in draws)
    assert stats.binomtest(n_changed, N_DRAWS, 0.5).pvalue > 1e-3


def test_choices_are_even(draws: list[ShiftParameters]) -> None:
    """Both kernels are as frequent, so are linear and radial shades, and the places within each."""
    assert stats.chisquare(np.unique([p.blur_kernel for p in draws], return_counts=True)[1]).pvalue > 1e-3
    assert {p.blur_kernel for p in draws} == {3, 5}
    shades = [p.shade for p in draws if p.shade != "none"]
    expected = {**dict.fromkeys(("left", "right", "top", "bottom"), 1 / 8), "centre": 1 / 4, "rim": 1 / 4}
    counts = [shades.count(place) for place in expected]  # type: ignore[arg-type]
    assert stats.chisquare(counts, [len(shades) * share for share in expected.values()]).pvalue > 1e-3


def test_draws_are_independent(draws: list[ShiftParameters]) -> None:
    """The streams of different transforms are not correlated."""
    fields = ("rotation_deg", "scale", "translate_x", "translate_y", "brightness", "contrast", "saturation")
    correlation = np.corrcoef([[getattr(p, field) for p in draws] for field in fields])
    assert np.abs(correlation - np.eye(len(fields))).max() < 5 / math.sqrt(N_DRAWS)


def test_proposal_is_what_the_protocol_lists() -> None:
    """The proposal crops instead of scaling, always blurs and adds noise, and stays in its ranges."""
    config = ShiftConfig(preset="mvtec_shift_proposal")
    for i in range(300):
        p = draw_parameters(config, str(i))
        assert p.scale == 1
        assert abs(p.rotation_deg) <= 10
        # Below 0.9 only where a side that is too long was cut at the image.
        assert p.crop_width * p.crop_height >= 0.9 / 1.1 - 1e-9
        assert p.crop_left + p.crop_width <= 1 + 1e-9
        assert p.crop_top + p.crop_height <= 1 + 1e-9
        assert 0.9 - 1e-9 <= p.crop_width / p.crop_height <= 1.1 + 1e-9
        assert p.blur_sigma > 0
        assert p.blur_kernel in {3, 5}
        assert p.noise_sigma > 0
        assert p.shade in {"none", "rim", "spot"}


@pytest.mark.parametrize("off", [name for name in ShiftConfig.model_fields if name in {a.split(".")[0] for a in AXES}])
def test_switching_one_off_leaves_the_others_alone(off: str) -> None:
    """A transform that is switched off does nothing, and every other one draws what it drew before."""
    own = {
        "translation": {"translate_x", "translate_y"},
        "crop": {"crop_left", "crop_top", "crop_width", "crop_height"},
        "blur": {"blur_sigma", "blur_kernel"},
        "noise": {"noise_sigma"},
        "illumination": {"shade", "shade_strength", "shade_sigma_px"},
    }.get(off, {off})
    full = {name: {"probability": 1} for name in ("blur", "noise", "illumination")} | {"crop": {}}
    with_it = asdict(draw_parameters(ShiftConfig.model_validate(full), "x"))
    without = asdict(draw_parameters(ShiftConfig.model_validate({**full, off: None}), "x"))
    assert {key for key in with_it if with_it[key] != without[key]} <= own
    assert apply_shift(noise_picture(), draw_parameters(ShiftConfig.model_validate({**full, off: None}), "x"))
    neutral = asdict(NOTHING)
    assert all(without[key] == neutral[key] for key in own - {"blur_kernel", "shade_sigma_px"})


@given(severity=st.floats(0, 3.3), identity=st.text(max_size=10))
@settings(max_examples=50, deadline=None)
def test_severity_scales_the_same_draw(severity: float, identity: str) -> None:
    """Severity multiplies each draw's distance from doing nothing, and changes no choice."""
    once = draw_parameters(ShiftConfig(), identity)
    scaled = draw_parameters(ShiftConfig(severity=severity), identity)
    for field in ("rotation_deg", "translate_x", "translate_y", "blur_sigma", "noise_sigma"):
        assert getattr(scaled, field) == pytest.approx(severity * getattr(once, field))
    for field in ("scale", "brightness", "contrast", "saturation"):
        assert getattr(scaled, field) - 1 == pytest.approx(severity * (getattr(once, field) - 1), abs=1e-12)
    assert (scaled.shade, scaled.blur_kernel, scaled.noise_seed) == (
        once.shade,
        once.blur_kernel,
        once.noise_seed,
    )
    assert 0 <= scaled.shade_strength <= 1


def test_parameters_are_plain_json() -> None:
    """A record of the draw survives JSON unchanged, but for tuples, which JSON calls lists."""
    parameters = draw_parameters(ShiftConfig(), "x")
    back = json.loads(json.dumps(asdict(parameters)))
    assert shift_by(**{**back, "fill_value": tuple(back["fill_value"])}) == parameters


@pytest.mark.parametrize(
    "given_fields",
    [
        {},
        {"preset": "mvtec_shift", "severity": 1.0, "seed": 42},
        {"preset": "mvtec_shift_proposal", "severity": 0.5},
        {"preset": "mvtec_shift", "rotation_deg": 5, "blur": None, "brightness": [0.8, 1.2]},
        {"fill": "constant", "fill_value": 255, "noise": {"probability": 1}},
    ],
)
def test_config_survives_json(given_fields: dict[str, object]) -> None:
    """A dumped config reads back equal, with the preset's values written out."""
    config = ShiftConfig.model_validate(given_fields)
    assert ShiftConfig.model_validate_json(config.model_dump_json()) == config
    assert ShiftConfig.model_validate(config.model_dump(mode="json")) == config


def test_explicit_settings_win_key_by_key() -> None:
    """A given range replaces the preset's, a partly given transform keeps the preset's other values."""
    config = ShiftConfig.model_validate(
        {"preset": "mvtec_shift_proposal", "rotation_deg": 5, "blur": {"kernels": [7]}, "crop": None}
    )
    assert config.rotation_deg == (-5, 5)
    assert config.blur is not None
    assert (config.blur.kernels, config.blur.probability) == ((7,), 1.0)
    assert config.crop is None
    assert config.noise is not None
    assert config.noise.probability == 1.0


@pytest.mark.parametrize(
    ("given_fields", "key", "words"),
    [
        ({"severity": 4}, "severity", "brightness from [0.7, 1.3] to [-0.2, 2.2]"),
        ({"severity": 4}, "severity", "use at most 3.33"),
        (
            {"severity": 6, "brightness": None, "contrast": None, "saturation": None},
            "severity",
            "translation",
        ),
        ({"severity": -1}, "severity", "greater than or equal to 0"),
        ({"severity": math.nan}, "severity", "finite"),
        ({"scale": 0.9}, "scale", "[low, high]"),
        ({"rotation_deg": "much"}, "rotation_deg", "[low, high]"),
        ({"brightness": [1.2, 0.8]}, "brightness", "use [0.8, 1.2]"),
        ({"contrast": [-1, 1]}, "contrast", "within [0, 10]"),
        ({"blur": {"kernels": [4]}}, "blur", "odd"),
        ({"noise": {"probability": 2}}, "noise", "less than or equal to 1"),
        ({"illumination": {"strength": [0.5, 1.5]}}, "illumination", "within [0, 1]"),
        ({"crop": {"area": [0.5, 1.2]}}, "crop", "within [0.1, 1]"),
        ({"fill_value": 300}, "fill_value", "0 to 255"),
        ({"preset": "mvtec"}, "preset", "mvtec_shift_proposal"),
        ({"blurr": None}, "blurr", "not permitted"),
    ],
)
def test_senseless_settings_are_refused(given_fields: dict[str, object], key: str, words: str) -> None:
    """A setting that makes no sense is refused at its own key, with the rule in words."""
    with pytest.raises(ValidationError) as caught:
        ShiftConfig.model_validate(given_fields)
    errors = [error for error in caught.value.errors() if error["loc"][0] == key]
    assert any(words in error["msg"] for error in errors)


def test_largest_severity_of_the_message_is_accepted() -> None:
    """The severity that the refusal names works."""
    assert ShiftConfig(severity=3.33).span("brightness").low >= 0


@pytest.mark.parametrize("category", ["bottle", "commutator"])
def test_real_defects_stay_marked(industrial_root: Path, category: str) -> None:
    """On real images a shift keeps size and type, and most of the defect's area."""
    root = industrial_root / category
    mask_path = min((root / "ground_truth").rglob("*_mask.png"))
    defect, stem = mask_path.parent.name, mask_path.stem.removesuffix("_mask")
    image_path = next((root / "test" / defect).glob(f"{stem}.*"))
    image = np.asarray(Image.open(image_path).convert("RGB"))
    picture = Picture(image, np.asarray(Image.open(mask_path).convert("L")) > 0)
    shifted = apply_shift(picture, draw_parameters(ShiftConfig(), f"{category}/test/{defect}/{stem}"))
    assert shifted.image.shape == image.shape
    assert shifted.image.dtype == np.uint8
    assert 0.5 * picture.mask.sum() < shifted.mask.sum() <= picture.mask.sum() * 1.05


def test_importing_shift_is_light() -> None:
    """Neither numpy nor OpenCV is loaded by importing the configuration and the draws."""
    program = "import sys, adloc.datasets.shift; print(sorted({'numpy', 'cv2', 'scipy', 'PIL'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
