"""AeBAD-S: blades of an aero engine, tested under changes of background, illumination and view.

train/good/<domain>/<image>, test/<good or defect>/<domain>/<image>, ground_truth/<defect>/<domain>/<image>; the
domains of the test part are same (as in training), background, illumination and view.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.listing import Listing, entries, images, is_image, relative_name
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.readers.options import LayoutConfig, existing_root
from adloc.datasets.readers.published import Published
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = "the layout is train/good/<domain>, test/<good or defect>/<domain> and ground_truth/<defect>/<domain>"
PUBLISHED = Published(
    "AeBAD-S",
    "Zhang et al., Industrial anomaly detection with domain shift, Computers in Industry 2023",
    "https://github.com/zhangzilongc/MMR",
    "CC BY 4.0",
    LAYOUT,
)
_PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")
_RULE = f"root is the folder AeBAD_S: {LAYOUT}"


class AebadSConfig(LayoutConfig):
    """AeBAD-S as it is published; an image's domain is the folder that holds it."""

    published = PUBLISHED

    kind: Literal["aebad_s"] = "aebad_s"

    def listing(self) -> Listing:
        """List the images, with their domains."""
        try:
            root = existing_root(self, _RULE, PUBLISHED.remedy)
        except DatasetError as error:
            return Listing(errors=list(error.problems))
        listing = Listing(layout=LAYOUT)
        for part in _PARTS:
            for kind in entries(root / part):
                for domain in entries(kind):
                    if domain.is_dir():
                        _list_domain(root, part, kind, domain, self, listing)
                    else:
                        listing.strays.append(domain)
        for name in ("train", "test"):
            if not any(sample.part == name for sample in listing.samples):
                listing.error(f"{root / name}: no images", _RULE, PUBLISHED.remedy, ("root",))
        warn_of_missing_masks(listing, listing.samples, root / "ground_truth")
        return join_categories(self, PUBLISHED.name, {}, {self.kind: listing})


def _list_domain(
    root: Path,
    part: Literal["train", "test"],
    kind: Path,
    domain: Path,
    config: AebadSConfig,
    listing: Listing,
) -> None:
    if part == "train" and kind.name != GOOD:
        listing.strays.append(domain)
        return
    masks = {path.stem: path for path in entries(root / "ground_truth" / kind.name / domain.name) if is_image(path)}
    for path in images(domain, listing):
        mask = None if kind.name == GOOD else masks.get(path.stem) or masks.get(f"{path.stem}_mask")
        known = kind.name == GOOD or mask is not None
        if not known and config.masks == "required":
            remedy = f"add ground_truth/{kind.name}/{domain.name}/{path.stem}.png, or write masks: optional"
            listing.error(f"{path}: no mask", f"every anomalous image needs a mask: {LAYOUT}", remedy)
            continue
        source = FileImage(path, mask, mask_known=known)
        sample = Sample(config.kind, relative_name(path, root), part, kind.name, source, mask_known=known, part=part)
        listing.samples.append(replace(sample, domain=domain.name))
