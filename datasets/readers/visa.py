"""VisA: twelve categories, listed by split_csv/1cls.csv with the columns object, split, label, image, mask."""

from __future__ import annotations

import csv
from io import StringIO
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.listing import Listing, relative_name
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.readers.options import CategoriesConfig, chosen, existing_root
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LIST = "split_csv/1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")
LAYOUT = f"{LIST} lists the images, as <category>/Data/Images/<Normal or Anomaly>/<image>, and their masks"
PUBLISHED = Published(
    "VisA",
    "Zou et al., SPot-the-Difference, ECCV 2022",
    "https://github.com/amazon-science/spot-diff",
    "CC BY 4.0",
    LAYOUT,
)
COUNTS: Mapping[str, Counts] = MappingProxyType(
    {
        "candle": Counts(900, 100, 100),
        "capsules": Counts(542, 60, 100),
        "cashew": Counts(450, 50, 100),
        "chewinggum": Counts(453, 50, 100),
        "fryum": Counts(450, 50, 100),
        "macaroni1": Counts(900, 100, 100),
        "macaroni2": Counts(900, 100, 100),
        "pcb1": Counts(904, 100, 100),
        "pcb2": Counts(901, 100, 100),
        "pcb3": Counts(905, 101, 100),
        "pcb4": Counts(904, 101, 100),
        "pipe_fryum": Counts(450, 50, 100),
    }
)
_RULE = f"root is the folder of VisA: {LAYOUT}"


class VisaConfig(CategoriesConfig):
    """VisA as it is published."""

    published = PUBLISHED

    kind: Literal["visa"] = "visa"

    def listing(self) -> Listing:
        """List the chosen categories in the order asked for, by the published list of the one-class split."""
        try:
            root = existing_root(self, _RULE, PUBLISHED.remedy)
            listings = _read(root, required=self.masks == "required")
            names = chosen(root, self.categories, list(listings))
        except DatasetError as error:
            return Listing(errors=list(error.problems))
        return join_categories(self, PUBLISHED.name, COUNTS, {name: listings[name] for name in names})


def _read(root: Path, *, required: bool) -> dict[str, Listing]:
    """The listings of all categories in the published list.

    Raises:
        DatasetError: there is no list, or it is another one.
    """
    path, wrong = root / LIST, Listing()
    if not path.is_file():
        wrong.error(f"{path}: no such file", _RULE, PUBLISHED.remedy, ("root",))
        wrong.required()
    listings: dict[str, Listing] = {}
    with StringIO(read_bytes(path).decode("utf-8"), newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            found = f"{path}: the columns are {', '.join(reader.fieldnames or ()) or 'none'}"
            wrong.error(found, f"they must be {', '.join(COLUMNS)}", PUBLISHED.remedy, ("root",))
            wrong.required()
        for row in reader:
            listing = listings.setdefault(row["object"], Listing(layout=LAYOUT))
            _add(root, row, f"{path}:{reader.line_num}", listing, required=required)
    for listing in listings.values():
        warn_of_missing_masks(listing, listing.samples, root)
    if not listings:
        wrong.error(f"{path}: no rows", _RULE, PUBLISHED.remedy, ("root",))
        wrong.required()
    return listings


def _add(root: Path, row: Mapping[str, str], where: str, listing: Listing, *, required: bool) -> None:
    category, part = row["object"], row["split"]
    if part not in ("train", "test") or row["label"] not in ("normal", "anomaly"):
        found = f"{where}: split {part}, label {row['label']}"
        listing.error(found, "split is train or test, label normal or anomaly", PUBLISHED.remedy)
        return
    path, anomalous = root / row["image"], row["label"] == "anomaly"
    mask = root / row["mask"] if anomalous and row["mask"] else None
    if anomalous and mask is None and required:
        remedy = "add its mask to the list, or write masks: optional"
        listing.error(f"{where}: no mask for {row['image']}", "every anomalous image needs a mask", remedy)
        return
    known = not anomalous or mask is not None
    source = FileImage(path, mask, mask_known=known)
    origin: Literal["train", "test"] = "train" if part == "train" else "test"
    name = relative_name(path, root / category) if path.is_relative_to(root / category) else row["image"]
    defect = "anomaly" if anomalous else GOOD
    listing.samples.append(Sample(category, name, origin, defect, source, mask_known=known, part=origin))
