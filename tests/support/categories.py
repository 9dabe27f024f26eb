"""Made-up categories in MVTec AD's layout, written to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write_layout_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Save an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_category(
    root: Path, category: str, height: int, width: int, *, channels: int, n_train: int = 12, n_defects: int = 5
) -> None:
    """Write a made-up category: train/good, 4 test/good, `n_defects` of each of two defect types, with masks.

    A woven texture with a little noise; the defects are blobs that are brighter ("glare") or darker ("hole").
    """
    rng = np.random.default_rng(list(category.encode()))
    rows, columns = np.mgrid[:height, :width]
    weave = 118 + 22 * np.sin(rows * 0.9) * np.sin(columns * 0.7)
    tint = np.array([1.0, 0.92, 0.8])[:channels]

    def normal() -> NDArray[np.float64]:
        light = rng.uniform(0.96, 1.04)
        return (weave * light + rng.normal(0, 4, weave.shape))[:, :, None] * tint

    def save(name: str, pixels: NDArray[np.float64]) -> None:
        clipped = pixels.clip(0, 255).astype(np.uint8)
        write_layout_image(root / category / name, clipped[:, :, 0] if channels == 1 else clipped)

    for i in range(n_train):
        save(f"train/good/{i:03}.png", normal())
    for i in range(4):
        save(f"test/good/{i:03}.png", normal())
    for defect, value in (("glare", 250.0), ("hole", 15.0)):
        for i in range(n_defects):
            row, column = rng.uniform(0.25, 0.75, 2) * (height, width)
            blob = np.hypot(rows - row, columns - column) < rng.uniform(0.1, 0.16) * min(height, width)
            save(f"test/{defect}/{i:03}.png", np.where(blob[:, :, None], value, normal()))
            mask_path = root / category / "ground_truth" / defect / f"{i:03}_mask.png"
            write_layout_image(mask_path, blob.astype(np.uint8) * 255)
