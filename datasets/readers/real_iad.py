"""Real-IAD: thirty categories, five views of every part, listed by one JSON a category.

realiad_jsons/<category>.json holds train and test: lists of {anomaly_class, image_path, mask_path}; the paths are
relative to realiad_<resolution>/<category>. An image's path names the part that it shows: NG/.../S0042/....jpg; to
keep its five views together, split.group: "/(S[0-9]+)/".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.json_text import parse_json
from adloc.datasets.natural_order import natural_key
from adloc.datasets.readers.listing import Listing, relative_name
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.readers.options import CategoriesConfig, chosen, existing_root
from adloc.datasets.readers.published import Published
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = "realiad_jsons/<category>.json lists the images in realiad_<resolution>/<category>"
PUBLISHED = Published(
    "Real-IAD",
    "Wang et al., CVPR 2024",
    "https://realiad4ad.github.io/Real-IAD/",
    "CC BY-NC-SA 4.0, on request",
    LAYOUT,
)
_PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")
_RULE = f"root is the folder of Real-IAD: {LAYOUT}"


class RealIadConfig(CategoriesConfig):
    """Real-IAD as it is published."""

    published = PUBLISHED

    kind: Literal["real_iad"] = "real_iad"
    resolution: Literal["256", "512", "1024", "raw"] = Field(
        default="1024",
        description="which of the published sizes: the folder realiad_<resolution>",
        json_schema_extra={"rule": 'it must be "256", "512", "1024" or raw', "remedy": 'use "1024", in quotes'},
    )
    lists: str = Field(default="realiad_jsons", description="folder of the JSON files, one a category")

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for, by the published JSON files."""
        try:
            root = existing_root(self, _RULE, PUBLISHED.remedy)
            paths = sorted((root / self.lists).glob("*.json"), key=lambda path: natural_key(path.name))
            if not paths:
                listing = Listing()
                listing.error(f"{root / self.lists}: no JSON files", _RULE, PUBLISHED.remedy, ("root",))
                return listing
            names = chosen(root, self.categories, [path.stem for path in paths])
        except DatasetError as error:
            return Listing(errors=list(error.problems))
        listings = {name: _list_category(root, name, self) for name in names}
        return join_categories(self, PUBLISHED.name, {}, listings)


def _list_category(root: Path, category: str, config: RealIadConfig) -> Listing:
    path = root / config.lists / f"{category}.json"
    folder, listing = root / f"realiad_{config.resolution}" / category, Listing(layout=LAYOUT)
    if not folder.is_dir():
        remedy = f"{PUBLISHED.remedy}; or choose another resolution"
        listing.error(f"{folder}: no such folder", _RULE, remedy, ("resolution",))
        return listing
    try:
        content: dict[str, list[dict[str, Any]]] = parse_json(read_bytes(path))
        rows = [(part, row) for part in _PARTS for row in content[part]]
        for part, row in rows:
            _add(folder, part, row, f"{path}: {part}", listing, config)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        found = f"{path}: not a list of Real-IAD ({type(error).__name__}: {error})"
        listing.error(
            found, "it must hold train and test, lists of anomaly_class, image_path, mask_path", PUBLISHED.remedy
        )
    warn_of_missing_masks(listing, listing.samples, folder)
    return listing


def _add(
    folder: Path,
    origin: Literal["train", "test"],
    row: dict[str, Any],
    where: str,
    listing: Listing,
    config: RealIadConfig,
) -> None:
    defect = GOOD if row["anomaly_class"] == "OK" else str(row["anomaly_class"])
    path = folder / str(row["image_path"])
    mask = folder / str(row["mask_path"]) if defect != GOOD and row.get("mask_path") else None
    known = defect == GOOD or mask is not None
    if not known and config.masks == "required":
        remedy = "add its mask to the list, or write masks: optional"
        listing.error(f"{where}: no mask for {row['image_path']}", "every anomalous image needs a mask", remedy)
        return
    source = FileImage(path, mask, mask_known=known)
    name = relative_name(path, folder)
    listing.samples.append(Sample(folder.name, name, origin, defect, source, mask_known=known, part=origin))
