"""MVTec AD 2: transparent, reflecting and bulk goods under several lights.

The lights are in the names: 003_regular.png, 003_overexposed.png, 003_underexposed.png, 003_shift_1.png. Train and
validation have the regular one alone. The private test parts have no labels: they are in no split, and are listed for
the benchmark's server alone, <object>/test_private/000_regular.png and <object>/test_private_mixed/000_mixed.png.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.fetched import local_root
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.listing import Listing, images, relative_name
from adloc.datasets.readers.mvtec_layout import Tree, list_category
from adloc.datasets.readers.options import CategoriesConfig, Pattern
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import list_published
from adloc.datasets.sample import UNKNOWN, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

PRIVATE = ("test_private", "test_private_mixed")
TREE = Tree(
    normals=(("train/good", "train"), ("validation/good", "validation")),
    test="test_public",
    masks="test_public/ground_truth",
    passed_over=PRIVATE,
)
PUBLISHED = Published(
    "MVTec AD 2",
    "Heckler-Kram et al., arXiv 2503.21622",
    "https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    "CC BY-NC-SA 4.0",
    TREE.layout,
)
COUNTS: Mapping[str, Counts] = MappingProxyType(
    {
        "can": Counts(412, 72, 90, 46, 1),
        "fabric": Counts(387, 66, 90, 43, 1),
        "fruit_jelly": Counts(263, 20, 60, 37, 1),
        "rice": Counts(313, 42, 90, 35, 1),
        "sheet_metal": Counts(137, 24, 90, 19, 1),
        "vial": Counts(291, 35, 105, 41, 1),
        "wallplugs": Counts(293, 60, 90, 33, 1),
        "walnuts": Counts(432, 60, 90, 48, 1),
    }
)
LIGHTS = r"\d+_([a-z]+(?:_\d+)?)\.[a-z]+$"


class MvtecAd2Config(CategoriesConfig):
    """MVTec AD 2 as it is published; an image's domain is the light in its name."""

    published = PUBLISHED

    kind: Literal["mvtec_ad_2"] = "mvtec_ad_2"
    domain: Pattern | None = Field(
        default=LIGHTS, description="regular expression with one group: the light in an image's file name"
    )

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for."""
        return list_published(self, PUBLISHED, COUNTS, "train", lambda folder: list_category(folder, TREE, self.masks))

    def private(self, category: str) -> list[Sample]:
        """List the images of a category's private test parts, which have no labels.

        Raises:
            DatasetError: a part is not there, or has no image.
        """
        folder, samples = local_root(self.root) / category, []
        for part in PRIVATE:
            found = images(folder / part, Listing())
            if not found:
                rule = f"the benchmark's server takes maps of {PRIVATE[0]} and {PRIVATE[1]}"
                raise DatasetError(Problem(f"{folder / part}: no images", rule, PUBLISHED.remedy))
            for path in found:
                name = relative_name(path, folder)
                source = FileImage(path, mask_known=False)
                samples.append(Sample(category, name, "private", UNKNOWN, source, mask_known=False))
        return samples
