"""MVTec AD, and any other folder of its layout.

The catalogue of counts: P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger, C. Steger, "The MVTec Anomaly
Detection Dataset: A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection", IJCV 129 (2021).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from adloc.datasets.errors import DatasetError
from adloc.datasets.readers.listing import Listing, entries
from adloc.datasets.readers.mvtec_layout import MVTEC_AD, list_category, suggested_kind
from adloc.datasets.readers.options import CategoriesConfig, chosen, existing_root, subfolders
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import join_categories

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PUBLISHED = Published(
    "MVTec AD",
    "Bergmann et al., CVPR 2019",
    "https://www.mvtec.com/company/research/datasets/mvtec-ad",
    "CC BY-NC-SA 4.0",
    MVTEC_AD.layout,
)
CATALOGUE: Mapping[str, Counts] = MappingProxyType(
    {
        "carpet": Counts(280, 28, 89, n_defect_types=5),
        "grid": Counts(264, 21, 57, n_defect_types=5),
        "leather": Counts(245, 32, 92, n_defect_types=5),
        "tile": Counts(230, 33, 84, n_defect_types=5),
        "wood": Counts(247, 19, 60, n_defect_types=5),
        "bottle": Counts(209, 20, 63, n_defect_types=3),
        "cable": Counts(224, 58, 92, n_defect_types=8),
        "capsule": Counts(219, 23, 109, n_defect_types=5),
        "hazelnut": Counts(391, 40, 70, n_defect_types=4),
        "metal_nut": Counts(220, 22, 93, n_defect_types=4),
        "pill": Counts(267, 26, 141, n_defect_types=7),
        "screw": Counts(320, 41, 119, n_defect_types=5),
        "toothbrush": Counts(60, 12, 30, n_defect_types=1),
        "transistor": Counts(213, 60, 40, n_defect_types=4),
        "zipper": Counts(240, 32, 119, n_defect_types=7),
    }
)

_ROOT_RULE = "root is the folder whose subfolders are the categories, each with train/good and test inside"
_WHERE_FROM = (
    "MVTec AD: the page 'MVTec Anomaly Detection Dataset' of the MVTec company"
    f" ({PUBLISHED.page}), free for research after accepting the"
    f" licence ({PUBLISHED.licence}); unpack it and set MVTEC_AD_ROOT to that folder: export"
    " MVTEC_AD_ROOT=/path/to/mvtec_ad. Or try the same study on the embedded textures:"
    " --set dataset='{kind: textures, categories: all}'"
)


class MvtecAdConfig(CategoriesConfig):
    """A folder of the MVTec AD layout; its categories need not be those of MVTec AD."""

    published = PUBLISHED

    kind: Literal["mvtec_ad"] = "mvtec_ad"

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for.

        A category named as one of MVTec AD whose counts differ from the published ones is a warning.
        """
        try:
            root = existing_root(self, _ROOT_RULE, _WHERE_FROM)
            available = subfolders(root, "train")
            if not available:
                listing = Listing()
                listing.error(f"{root}: no category inside", _ROOT_RULE, _elsewhere(root), ("root",))
                return listing
            names = chosen(root, self.categories, available)
        except DatasetError as error:
            return Listing(errors=list(error.problems))
        listings = {name: list_category(root / name, masks=self.masks) for name in names}
        whole = join_categories(self, PUBLISHED.name, CATALOGUE, listings)
        if self.categories == "all":
            _warn_of_near_categories(root, available, whole)
        return whole


def _warn_of_near_categories(root: Path, available: list[str], listing: Listing) -> None:
    """Name the folders that would be a category with other names of their folders."""
    for folder in entries(root):
        kind = suggested_kind(folder) if folder.is_dir() and folder.name not in available else None
        if kind is not None:
            found = f"{folder}: no folder train inside, so it is no category"
            listing.warn(found, _ROOT_RULE, f"{kind}, root: {root} and categories: [{folder.name}]")


def _elsewhere(root: Path) -> str:
    """Say where the categories probably are, when root is one folder too low or too high."""
    if (root / "train").is_dir():
        return f"{root} is itself a category: use root {root.parent} with categories [{root.name}]"
    below = [folder for folder in entries(root) if folder.is_dir() and subfolders(folder, "train")]
    if below:
        return f"use root {below[0]}"
    for folder in (root, *(entry for entry in entries(root) if entry.is_dir())):
        kind = suggested_kind(folder)
        if kind is not None:
            return kind if folder == root else f"{kind}, root: {root} and categories: [{folder.name}]"
    return _WHERE_FROM
