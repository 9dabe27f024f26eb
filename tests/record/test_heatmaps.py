"""Pictures of anomaly maps: what the colours mean, what is drawn where, and which images are chosen."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from adloc.record.heatmaps import Caption, ColourScale, choose_images, png_bytes, render

Array = NDArray[Any]

SCALE = ColourScale(low=1.0, anchor=2.0, high=6.0)
FINITE = st.floats(-1e6, 1e6)


def test_the_scale_meets_its_three_anchors() -> None:
    """Low is 0, the anchor 0.5 and high 1; beyond the ends the colour stays."""
    scores = np.array([-9.0, 1.0, 1.5, 2.0, 4.0, 6.0, 99.0])
    assert SCALE.positions(scores).tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]


@given(st.lists(FINITE, min_size=2))
def test_warm_means_at_or_above_the_threshold(values: list[float]) -> None:
    """A position is at least 0.5 exactly where score >= anchor, and the map never falls."""
    scores = np.sort(np.asarray([*values, SCALE.anchor]))
    positions = SCALE.positions(scores)
    assert np.array_equal(positions >= 0.5, scores >= SCALE.anchor)
    assert (np.diff(positions) >= 0).all()


def test_cold_is_blue_and_warm_is_red() -> None:
    """Below the anchor blue outweighs red in every colour; above, red outweighs blue."""
    cold = SCALE.colours(np.linspace(-3, 1.95, 50)[None]).astype(int)
    warm = SCALE.colours(np.linspace(2.1, 9, 50)[None]).astype(int)
    assert (cold[..., 2] > cold[..., 0]).all()
    assert (warm[..., 0] > warm[..., 2]).all()


@pytest.mark.parametrize("values", [(1.0, 1.0, 2.0), (1.0, 3.0, 2.0), (1.0, 2.0, float("nan"))])
def test_a_scale_that_does_not_rise_is_refused(values: tuple[float, float, float]) -> None:
    """Low, anchor and high must rise strictly."""
    with pytest.raises(ValueError, match="must rise"):
        ColourScale(*values)


def test_a_normal_map_looks_cold() -> None:
    """With the threshold above the normal pixels, no pixel of a normal map is warm."""
    normal = np.random.default_rng(0).gamma(3, size=(20, 30))
    scale = ColourScale.around(low=float(np.median(normal)), high=40.0, threshold=float(normal.max()) + 0.1)
    colours = scale.colours(normal).astype(int)
    assert (colours[..., 2] > colours[..., 0]).all()


def test_a_scale_between_its_ends_keeps_them() -> None:
    """A threshold between low and high moves neither; without one the anchor is half-way."""
    assert ColourScale.around(low=1.0, high=6.0, threshold=2.0) == SCALE
    assert ColourScale.around(low=1.0, high=6.0, threshold=None).anchor == 3.5


@given(FINITE, FINITE, st.none() | FINITE | st.just(-1e30))
def test_any_levels_and_threshold_give_a_scale(low: float, high: float, threshold: float | None) -> None:
    """Constant maps and absurd thresholds still give a rising scale, anchored at the threshold."""
    scale = ColourScale.around(low=low, high=max(low, high), threshold=threshold)
    assert scale.low < scale.anchor < scale.high
    assert threshold is None or scale.anchor == threshold


@pytest.mark.parametrize(
    ("anomalous", "score", "threshold", "verdict"),
    [
        (True, 2.0, 2.0, "hit"),
        (True, 1.9, 2.0, "miss"),
        (False, 2.0, 2.0, "false alarm"),
        (False, 1.9, 2.0, "correct rejection"),
        (False, 1.9, None, "no threshold"),
    ],
)
def test_verdicts(*, anomalous: bool, score: float, threshold: float | None, verdict: str) -> None:
    """The four outcomes of score >= threshold, and the case without one."""
    assert Caption("bottle/a.png", anomalous=anomalous, score=score, threshold=threshold).verdict == verdict


@pytest.mark.parametrize(
    ("size", "map_size", "mask_size"),
    [((50, 50), (50, 50), (50, 50)), ((300, 90), (28, 28), (224, 224)), ((40, 900), (14, 14), (40, 900))],
)
@pytest.mark.parametrize("threshold", [None, 2.0])
def test_any_size_is_drawn(
    size: tuple[int, int], map_size: tuple[int, int], mask_size: tuple[int, int], threshold: float | None
) -> None:
    """Image, map and mask of any sizes give an opaque RGB picture, and the same one each time."""
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, size=(*size, 3), dtype=np.uint8)
    anomaly_map = rng.gamma(2, size=map_size).astype(np.float32)
    mask = rng.random(mask_size) < 0.01
    caption = Caption("a very long name/" * 9, anomalous=True, score=1.5, threshold=threshold)
    pictures = [render(image, anomaly_map, mask, SCALE, caption) for _ in range(2)]
    assert pictures[0].mode == "RGB"
    assert pictures[0].tobytes() == pictures[1].tobytes()


@pytest.mark.parametrize("size", [(120, 60), (60, 120)])
def test_a_panel_keeps_the_images_proportions(size: tuple[int, int]) -> None:
    """A plain image fills a rectangle with its own height : width, so height and width are not swapped."""
    picture = _draw(np.full((*size, 3), (250, 0, 250), dtype=np.uint8))
    rows, columns = np.nonzero((_first_panel(picture) == (250, 0, 250)).all(axis=2))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(size[0] / size[1], rel=0.02)


def test_the_map_is_drawn_where_it_is() -> None:
    """A hot corner of the map is warm in the same corner of the second panel, and only there."""
    anomaly_map = np.full((30, 60), SCALE.low, dtype=np.float32)
    anomaly_map[:10, 40:] = SCALE.high
    panels = _panels(_draw(np.zeros((30, 60, 3), dtype=np.uint8), anomaly_map=anomaly_map))
    warm = panels[1][..., 0].astype(int) > panels[1][..., 2]
    height, width = warm.shape
    assert warm[: height // 4, -width // 4 :].all()
    assert not warm[height // 2 :].any()
    assert not warm[:, : width // 2].any()


def test_the_defect_is_outlined_in_green() -> None:
    """The mask's outline is green in the last panel; without a defect nothing there is green."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:20] = True
    grey = np.full((40, 40, 3), 120, dtype=np.uint8)
    assert _n_green(_panels(_draw(grey, mask=mask))[3]) > 0
    assert _n_green(_panels(_draw(grey))[3]) == 0


def test_a_defect_of_one_pixel_is_not_lost() -> None:
    """In a large image that is shrunk, a defect of a single pixel still gets its outline."""
    mask = np.zeros((2000, 2000), dtype=bool)
    mask[777, 1234] = True
    assert _n_green(_panels(_draw(np.full((2000, 2000, 3), 120, dtype=np.uint8), mask=mask))[3]) > 0


def test_the_threshold_has_a_contour() -> None:
    """A region at the threshold is outlined in the overlay; without a threshold nothing is."""
    anomaly_map = np.full((40, 40), SCALE.low, dtype=np.float32)
    anomaly_map[10:30, 10:30] = SCALE.high
    black = np.zeros((40, 40, 3), dtype=np.uint8)
    outlined, plain = (
        _panels(_draw(black, anomaly_map=anomaly_map, threshold=threshold))[2] for threshold in (2.0, None)
    )
    assert (outlined > 200).all(axis=2).any()
    assert not (plain > 200).all(axis=2).any()


def test_png_holds_the_picture() -> None:
    """The PNG decodes to the pixels that were drawn."""
    picture = _draw(np.full((20, 30, 3), 90, dtype=np.uint8))
    decoded = Image.open(io.BytesIO(png_bytes(picture)))
    assert decoded.format == "PNG"
    assert decoded.tobytes() == picture.tobytes()


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.5, 4.0]), st.booleans()), max_size=12), st.integers(0, 15))
def test_every_choice_is_another_image(items: list[tuple[float, bool]], n: int) -> None:
    """As many images as asked for, or all there are; none twice; the same each time."""
    scores, labels = np.array([s for s, _ in items]), np.array([label for _, label in items], dtype=bool)
    for threshold in (None, 2.0):
        chosen = choose_images(scores, labels, threshold, n)
        assert len({choice.index for choice in chosen}) == len(chosen) == min(n, len(items))
        assert chosen == choose_images(scores, labels, threshold, n)


def test_the_choice_is_a_mix() -> None:
    """Four images: worst miss, worst false alarm, nearest to the threshold, clearest defect."""
    scores = np.array([0.1, 0.2, 5.0, 3.1, 9.0, 1.0, 4.0])
    labels = np.array([False, False, False, True, True, True, True])
    chosen = choose_images(scores, labels, 3.0, 4)
    assert {choice.index: choice.why for choice in chosen} == {
        5: "lowest-anomaly",
        2: "highest-normal",
        3: "borderline",
        4: "highest-anomaly",
    }


def test_without_a_threshold_the_border_is_between_the_classes() -> None:
    """Without a threshold: nearest to the middle between lowest anomaly and highest normal image."""
    scores, labels = np.array([0.0, 3.9, 4.0, 8.0, 6.1, 20.0]), np.array([0, 0, 0, 1, 1, 1], dtype=bool)
    third = choose_images(scores, labels, None, 3)[2]
    assert (third.index, third.why) == (1, "borderline")


def _draw(
    image: Array,
    *,
    anomaly_map: Array | None = None,
    mask: Array | None = None,
    threshold: float | None = 2.0,
) -> Image.Image:
    anomaly_map = np.full(image.shape[:2], SCALE.low) if anomaly_map is None else anomaly_map
    mask = np.zeros(image.shape[:2], dtype=bool) if mask is None else mask
    return render(
        image,
        anomaly_map,
        mask,
        SCALE,
        Caption("bottle/a.png", anomalous=True, score=1.0, threshold=threshold),
    )


def _panels(picture: Image.Image) -> list[Array]:
    """The four panels, found as runs of columns without a background pixel in a row through the middle."""
    pixels = np.asarray(picture)
    background = pixels[-1, 0]
    inside = (pixels[-30] != background).any(axis=1)
    runs = [list(run) for is_in, run in itertools.groupby(range(inside.size), inside.__getitem__) if is_in]
    column = (pixels[:, runs[0][0]] != background).any(axis=1)
    rows = [list(run) for is_in, run in itertools.groupby(range(column.size), column.__getitem__) if is_in][-1]
    return [pixels[rows[0] : rows[-1] + 1, run[0] : run[-1] + 1] for run in runs]


def _first_panel(picture: Image.Image) -> Array:
    return _panels(picture)[0]


def _n_green(panel: Array) -> int:
    red, green, blue = np.moveaxis(panel.astype(int), 2, 0)
    return int(np.count_nonzero((green > red + 60) & (green > blue + 60)))
