"""MVTec LOCO AD: structural anomalies, and logical ones that break a rule; several masks an image.

ground_truth/<type>/<image>/000.png, 001.png, ... are the masks of one image, a file a defect. A picture's mask is
their union; `FileImage.read_masks` gives them one by one, for the saturated overlap (sPRO).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from adloc.datasets.readers.mvtec_layout import Tree, list_category
from adloc.datasets.readers.options import CategoriesConfig
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import list_published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.datasets.readers.listing import Listing

TREE = Tree(normals=(("train/good", "train"), ("validation/good", "validation")), masks_in_folders=True)
PUBLISHED = Published(
    "MVTec LOCO AD",
    "Bergmann et al., Beyond Dents and Scratches, IJCV 130 (2022)",
    "https://www.mvtec.com/company/research/datasets/mvtec-loco",
    "CC BY-NC-SA 4.0",
    TREE.layout,
)
# Of the archive that is to be had: in the paper's table 1 splicing_connectors has 354 and 59.
COUNTS: Mapping[str, Counts] = MappingProxyType(
    {
        "breakfast_box": Counts(351, 102, 90 + 83, 62, 2),
        "juice_bottle": Counts(335, 94, 94 + 142, 54, 2),
        "pushpins": Counts(372, 138, 81 + 91, 69, 2),
        "screw_bag": Counts(360, 122, 82 + 137, 60, 2),
        "splicing_connectors": Counts(360, 119, 85 + 108, 60, 2),
    }
)


class MvtecLocoConfig(CategoriesConfig):
    """MVTec LOCO AD as it is published: structural and logical anomalies, several masks an image."""

    published = PUBLISHED

    kind: Literal["mvtec_loco"] = "mvtec_loco"

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for."""
        return list_published(self, PUBLISHED, COUNTS, "train", lambda folder: list_category(folder, TREE, self.masks))
