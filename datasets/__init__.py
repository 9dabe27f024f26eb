"""The kinds of dataset: their configurations, their samples, their check.

Light to import: numpy, Pillow, OpenCV and torch are imported where pixels are touched. To add a kind, write a
module like `mvtec_ad`, whose configuration class has a `kind` of its own, and name it here in three places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adloc.datasets import mvtec_ad, textures
from adloc.datasets.mvtec_ad import MvtecAdConfig
from adloc.datasets.report import Report
from adloc.datasets.textures import TexturesConfig

if TYPE_CHECKING:
    from adloc.datasets.sample import Sample

DatasetConfig = Annotated[MvtecAdConfig | TexturesConfig, Field(discriminator="kind")]


def load_samples(config: MvtecAdConfig | TexturesConfig) -> list[Sample]:
    """Return the samples of a dataset, category by category in the order asked for; no pixel is read.

    Raises:
        DatasetError: naming all that keeps the dataset from being used, as far as names tell.
    """
    match config:
        case MvtecAdConfig():
            return mvtec_ad.samples(config)
        case TexturesConfig():
            return textures.samples(config)


def check(config: MvtecAdConfig | TexturesConfig) -> Report:
    """Return all that is wrong with a dataset; every file is decoded. Generated images need no check."""
    match config:
        case MvtecAdConfig():
            return mvtec_ad.check(config)
        case TexturesConfig():
            return Report()
