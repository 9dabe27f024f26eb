"""The kinds of dataset: their configurations, their samples, their check.

Light to import: numpy, Pillow, OpenCV and torch are imported where pixels are touched. To add a kind, write a module
like `readers.mpdd`, whose configuration class has a `kind` of its own and a `listing`, and name it here once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adloc.datasets.readers.aebad_s import AebadSConfig
from adloc.datasets.readers.btad import BtadConfig
from adloc.datasets.readers.folder import FolderConfig
from adloc.datasets.readers.kolektor import KolektorSdd2Config, KolektorSddConfig
from adloc.datasets.readers.mpdd import MpddConfig
from adloc.datasets.readers.mvtec_ad import MvtecAdConfig
from adloc.datasets.readers.mvtec_ad_2 import MvtecAd2Config
from adloc.datasets.readers.mvtec_loco import MvtecLocoConfig
from adloc.datasets.readers.real_iad import RealIadConfig
from adloc.datasets.readers.table import TableConfig
from adloc.datasets.readers.visa import VisaConfig
from adloc.datasets.textures import TexturesConfig

if TYPE_CHECKING:
    from adloc.datasets.report import Report
    from adloc.datasets.sample import Sample

AnyDataset = (
    MvtecAdConfig
    | TexturesConfig
    | FolderConfig
    | TableConfig
    | MvtecAd2Config
    | MvtecLocoConfig
    | VisaConfig
    | BtadConfig
    | MpddConfig
    | KolektorSddConfig
    | KolektorSdd2Config
    | RealIadConfig
    | AebadSConfig
)
DatasetConfig = Annotated[AnyDataset, Field(discriminator="kind")]


def load_samples(config: AnyDataset) -> list[Sample]:
    """Return the samples of a dataset, category by category in the order asked for; no image is read.

    Raises:
        DatasetError: naming all that keeps the dataset from being used, as far as names tell.
    """
    return config.listing().required()


def check(config: AnyDataset) -> Report:
    """Return all that is wrong with a dataset; every file is decoded."""
    from adloc.datasets.readers.examine import examine

    listing = config.listing()
    return listing.report() + examine(listing)
