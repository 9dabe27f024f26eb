"""PNG files written by hand are read by others as what they are."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adloc.record.png import encode_png


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_pillow_and_opencv_read_every_pixel(height: int, width: int, seed: int) -> None:
    """Any size, any pixels, by two readers."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = encode_png(pixels, {})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], pixels)


@pytest.mark.parametrize("value", ["264", "gear/test/hole/003.png", "Gehäuse"])
def test_text_is_kept(value: str) -> None:
    """What is written beside the picture comes back."""
    picture = Image.open(io.BytesIO(encode_png(np.zeros((2, 3, 3), np.uint8), {"panel_width": value})))
    assert picture.info["panel_width"] == value
    picture.verify()
