"""Pixel metrics from maps that come some images at a time: the bits of all at once, in chunks of stated bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adloc.computing import localisation
from adloc.computing.localisation import localise
from adloc.methods.detector import Result
from adloc.metrics.chunk import Chunk, EveryNth
from adloc.metrics.pimo import aupimo, aupimo_of
from adloc.metrics.ranking import rank
from adloc.metrics.regions import measure, pixel_metrics, rank_pixels
from adloc.metrics.registry import CHOICES
from adloc.planning.parts import TestPart
from adloc.uncertainty.pixel_bootstrap import count_chunks, count_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


def draw(seed: int, n: int) -> Chunk:
    """Maps with many ties, defects on half of the images, and void pixels."""
    rng = np.random.default_rng(seed)
    maps = np.round(rng.gamma(2.0, 1.0, (n, 37, 23)), int(rng.integers(1, 4))).astype(np.float32)
    masks = (rng.random(maps.shape) < 0.1) & (np.arange(n) % 2 == 0)[:, None, None]
    return Chunk(maps, masks, masks.any(axis=(1, 2)), (rng.random(maps.shape) < 0.2) if seed % 2 else None)


def cut(whole: Chunk, size: int) -> Callable[[], Iterator[Chunk]]:
    """The same, so many images at a time."""

    def read() -> Iterator[Chunk]:
        for start in range(0, len(whole.maps), size):
            images = slice(start, start + size)
            void = None if whole.void is None else whole.void[images]
            yield Chunk(whole.maps[images], whole.masks[images], whole.anomalous[images], void)

    return read


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 4))
def test_chunks_of_any_size_have_the_bits_of_all_maps_at_once(seed: int, n: int, size: int) -> None:
    """Figures, curves and the counts of the bootstrap; AUPIMO, which sums the rates of images, to its rounding."""
    whole = draw(seed, n)
    read = cut(whole, size)
    found = measure(rank_pixels(read), 500)
    exact = pixel_metrics(whole.maps, whole.masks, void=whole.void)
    assert (found.auroc, found.auprc, found.aupro, found.best_f1) == (
        exact.auroc, exact.auprc, exact.aupro, exact.best_f1,
    )  # fmt: skip
    for name in ("roc", "pro"):
        for axis in ("x", "y", "thresholds"):
            one, other = (getattr(getattr(each, name), axis) for each in (found, exact))
            assert one.tobytes() == other.tobytes()
    counts, expected = count_chunks(read), count_pixels(whole.maps, whole.masks, whole.void)
    assert counts is not None
    assert expected is not None
    for name, array in expected.arrays().items():
        assert counts.arrays()[name].tobytes() == array.tobytes(), name
    area = aupimo(whole.maps, whole.masks, whole.anomalous, whole.void)
    assert aupimo_of(read, int((~whole.anomalous).sum())) == pytest.approx(area, abs=1e-12, nan_ok=True)


def test_chunks_rank_as_one_sort_of_all_pixels_does() -> None:
    """The counts at each distinct score are those of the pixels flattened."""
    whole = draw(4, 6)
    one, other = rank_pixels(cut(whole, 2)), rank(whole.maps, whole.masks)
    for name in ("scores", "above", "tied", "anomalous", "next_above"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.n_normal, one.n_anomalous, one.lowest) == (other.n_normal, other.n_anomalous, other.lowest)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 7))
def test_every_nth_of_pieces_is_every_nth_of_the_whole(sizes: list[int], step: int) -> None:
    """However the sequence is cut."""
    whole = np.arange(sum(sizes))
    taken = EveryNth(step)
    found = [taken.of(piece) for piece in np.split(whole, np.cumsum(sizes)[:-1])] if sizes else []
    np.testing.assert_array_equal(np.concatenate([*found, whole[:0]]), whole[::step])


class Growing:
    """Expands a patch map by repeating its patches, and keeps how many bytes were asked for at a time."""

    def __init__(self) -> None:
        """Nothing was asked for."""
        self.n_bytes: list[int] = []

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], _params: object
    ) -> NDArray[np.float32]:
        """Expand."""
        factor = size[0] // patch_maps.shape[1]
        maps = patch_maps.repeat(factor, axis=1).repeat(factor, axis=2)
        self.n_bytes.append(maps.nbytes)
        return maps


def localised(mode: str, side: int, detector: Any) -> localisation.Localisation:
    """The pixel metrics of six maps of 8 x 8 patches at this side."""
    rng = np.random.default_rng(0)
    patch_maps = rng.random((6, 8, 8), dtype=np.float32)
    masks = np.zeros((6, side, side), dtype=bool)
    masks[::2, : side // 4, : side // 2] = True
    scores = Result({"image_scores": patch_maps.max(axis=(1, 2)), "patch_maps": patch_maps})
    stage: Any = SimpleNamespace(
        mode=mode, metrics=CHOICES, scores=SimpleNamespace(params=None),
        truth=SimpleNamespace(size=(side, side), part=TestPart("a", "clean", (), (), None)),
    )  # fmt: skip
    return localise(stage, scores, Result({"labels": masks.any(axis=(1, 2)), "masks": masks}), detector)


@pytest.mark.parametrize(("mode", "budget"), [("exact", "_EXACT_BYTES"), ("streaming", "_STREAMED_BYTES")])
def test_a_chunk_has_the_bytes_that_are_stated_and_one_image_at_least(
    mode: str, budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two maps of 64 x 64 where there is room for two and a half, one where there is none; the same figures."""
    together = Growing()
    expected = localised(mode, 64, together)
    assert set(together.n_bytes) == {6 * 64 * 64 * 4}
    for room, n_images in ((2.5, 2), (0.1, 1)):
        monkeypatch.setattr(localisation, budget, int(room * 64 * 64 * 4))
        apart = Growing()
        found = localised(mode, 64, apart)
        assert set(apart.n_bytes) == {n_images * 64 * 64 * 4}
        assert found.figures() == pytest.approx(expected.figures(), abs=1e-12 if mode == "streaming" else 0)
        for name, array in expected.arrays.items():
            assert found.arrays[name].tobytes() == array.tobytes(), name


def test_maps_that_fit_into_a_chunk_are_made_once() -> None:
    """All passes of the exact metrics read the same array."""
    detector = Growing()
    localised("exact", 64, detector)
    assert len(detector.n_bytes) == 1
