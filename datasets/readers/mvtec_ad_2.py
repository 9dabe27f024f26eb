"""MVTec AD 2: transparent, reflecting and bulk goods under several lights.

The lights are in the names: 003_regular.png, 003_overexposed.png, 003_underexposed.png, 003_shift_1.png. Train and
validation have the regular one alone. The private test parts have no labels and are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from adloc.datasets.readers.mvtec_layout import Tree, list_category
from adloc.datasets.readers.options import CategoriesConfig, Pattern
from adloc.datasets.readers.published import Published
from adloc.datasets.readers.several import list_published

if TYPE_CHECKING:
    from adloc.datasets.readers.listing import Listing

TREE = Tree(
    normals=(("train/good", "train"), ("validation/good", "validation")),
    test="test_public",
    masks="test_public/ground_truth",
    passed_over=("test_private", "test_private_mixed"),
)
PUBLISHED = Published(
    "MVTec AD 2",
    "Heckler-Kram et al., arXiv 2503.21622",
    "https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
    "CC BY-NC-SA 4.0",
    TREE.layout,
)
LIGHTS = r"\d+_([a-z]+(?:_\d+)?)\.[a-z]+$"


class MvtecAd2Config(CategoriesConfig):
    """MVTec AD 2 as it is published; an image's domain is the light in its name."""

    kind: Literal["mvtec_ad_2"] = "mvtec_ad_2"
    domain: Pattern | None = Field(
        default=LIGHTS, description="regular expression with one group: the light in an image's file name"
    )

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for."""
        return list_published(self, PUBLISHED, {}, "train", lambda folder: list_category(folder, TREE, self.masks))
