"""MVTec LOCO AD: structural anomalies, and logical ones that break a rule; several masks an image.

ground_truth/<type>/<image>/000.png, 001.png, ... are the masks of one image, a file a defect. A picture's mask is
their union; `FileImage.read_defects` gives them one by one, for the saturated overlap (sPRO), whose thresholds are in
the category's defects_config.json.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from adloc.datasets.defect_kinds import NAME, read_defect_kinds
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.mvtec_layout import Tree, list_category
from adloc.datasets.readers.options import CategoriesConfig
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import list_published

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
        return list_published(self, PUBLISHED, COUNTS, "train", self._list_one)

    def _list_one(self, folder: Path) -> Listing:
        """List a category, its masks with the kinds of defect that they mark."""
        listing, path = list_category(folder, TREE, self.masks), folder / NAME
        if not path.is_file():
            rule = "it holds the saturation thresholds of the masks, without which pixel_spro is empty"
            listing.warn(f"{path}: no such file", rule, "unpack the category again")
            return listing
        try:
            kinds = read_defect_kinds(path)
        except DatasetError as error:
            listing.errors += error.problems
            return listing
        listing.samples = [
            replace(sample, source=replace(sample.source, kinds=kinds))
            if sample.label and isinstance(sample.source, FileImage)
            else sample
            for sample in listing.samples
        ]
        return listing
