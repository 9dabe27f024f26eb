"""Heatmaps as MLflow's UI compares them: a key that all runs share, and a step for each image that they have in common.

The files are those of `MlflowClient.log_image`, which would take 90 ms an image to encode again what is a PNG already.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING
from uuid import uuid4

from mlflow.tracking.multimedia import compress_image_size
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES
from PIL import Image

from adloc.record.heatmaps import read_picture
from adloc.record.records import HEATMAPS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY = "heatmap"
MOST = 2  # images a run, at 10 ms each
SHOWN = {MLFLOW_LOGGED_IMAGES: "True"}  # the tag by which the UI knows of them


def common_heatmaps(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """The heatmaps of a record that show the same images in every run on the category; the first of them.

    Args:
        folder: of the record.
        files: checksum by name of its files; a picture that is damaged is left out.
    """
    found = sorted((folder / HEATMAPS).glob("*-common-*.png"))[:MOST]
    return [path for path in found if read_picture(path, files.get(f"{HEATMAPS}/{path.name}")) is not None]


def write_pictures(heatmaps: list[Path], folder: Path, now_ms: int) -> None:
    """Fill a folder with what a run's artifacts are to have: each image, and its thumbnail.

    Args:
        heatmaps: PNG files.
        folder: empty.
        now_ms: milliseconds since 1970.
    """
    (folder / "images").mkdir()
    for step, path in enumerate(heatmaps):
        name = f"{KEY}+step+{step}+timestamp+{now_ms}+{uuid4()}"
        shutil.copyfile(path, folder / "images" / f"{name}.png")
        with Image.open(path) as picture:
            compress_image_size(picture).save(folder / "images" / f"{name}+compressed.webp")
