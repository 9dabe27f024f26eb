"""MPDD: painted metal parts, several on an image, turned and lit in different ways; the layout of MVTec AD."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from adloc.datasets.readers.mvtec_layout import MVTEC_AD, list_category
from adloc.datasets.readers.options import CategoriesConfig
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import list_published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.datasets.readers.listing import Listing

PUBLISHED = Published(
    "MPDD",
    "Jezek et al., Deep learning-based defect detection of metal parts, ICUMT 2021",
    "https://github.com/stepanje/MPDD",
    "CC BY-NC-SA 4.0",
    MVTEC_AD.layout,
)
COUNTS: Mapping[str, Counts] = MappingProxyType(
    {
        "bracket_black": Counts(289, 32, 47),
        "bracket_brown": Counts(185, 26, 51),
        "bracket_white": Counts(110, 30, 30),
        "connector": Counts(128, 30, 14),
        "metal_plate": Counts(54, 26, 71),
        "tubes": Counts(122, 32, 69),
    }
)


class MpddConfig(CategoriesConfig):
    """MPDD as it is published."""

    published = PUBLISHED

    kind: Literal["mpdd"] = "mpdd"

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for."""
        return list_published(
            self, PUBLISHED, COUNTS, "train", lambda folder: list_category(folder, MVTEC_AD, self.masks)
        )
