"""BTAD, BeanTech's three products 01, 02 and 03: train/ok, test/ok, test/ko, ground_truth/ko."""

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

TREE = Tree(normals=(("train/ok", "train"),), good="ok")
PUBLISHED = Published(
    "BTAD",
    "Mishra et al., VT-ADL, ISIE 2021",
    "https://github.com/pankajmishra000/VT-ADL",
    "CC BY-NC-SA 4.0",
    TREE.layout,
)
COUNTS: Mapping[str, Counts] = MappingProxyType(
    {"01": Counts(400, 21, 49), "02": Counts(399, 30, 200), "03": Counts(1000, 400, 41)}
)


class BtadConfig(CategoriesConfig):
    """BTAD as it is published; its categories must be quoted: ["01", "02", "03"]."""

    published = PUBLISHED

    kind: Literal["btad"] = "btad"

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for."""
        return list_published(self, PUBLISHED, COUNTS, "train", lambda folder: list_category(folder, TREE, self.masks))
