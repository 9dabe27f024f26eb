"""The Kolektor surface-defect datasets: a mask beside every image, which marks nothing on a normal one.

kolektor_sdd:  kos01/Part0.jpg with kos01/Part0_label.bmp; a folder is one commutator, of eight views.
kolektor_sdd2: train/10000.png with train/10000_GT.png, the same in test.

Which images are defective is in the masks alone, so these are read when the dataset is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from adloc.datasets.decoding import decode, read_bytes, to_mask
from adloc.datasets.errors import DatasetError
from adloc.datasets.file_image import FileImage
from adloc.datasets.readers.listing import Listing, entries, images, relative_name
from adloc.datasets.readers.options import LayoutConfig, existing_root
from adloc.datasets.readers.published import Counts, Published
from adloc.datasets.readers.several import join_categories
from adloc.datasets.sample import GOOD, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.datasets.sample import Origin, Part

DEFECT = "defect"
SDD = Published(
    "KolektorSDD",
    "Tabernik et al., Journal of Intelligent Manufacturing 31 (2020)",
    "https://www.vicos.si/resources/kolektorsdd/",
    "CC BY-NC-SA 4.0",
    "the layout is kos<number>/Part<number>.jpg with Part<number>_label.bmp beside it",
)
SDD2 = Published(
    "KolektorSDD2",
    "Bozic et al., Mixed supervision for surface-defect detection, Computers in Industry 129 (2021)",
    "https://www.vicos.si/resources/kolektorsdd2/",
    "CC BY-NC-SA 4.0",
    "the layout is train/<number>.png and test/<number>.png, with <number>_GT.png beside each",
)
# SDD is not divided: 347 normal images, 52 with a defect.
SDD_COUNTS = Counts(347, 0, 52)
SDD2_COUNTS = Counts(2085, 894, 246 + 110)


class KolektorSddConfig(LayoutConfig):
    """KolektorSDD as it is published; to keep the views of a commutator together, split.group: "^(kos[0-9]+)/"."""

    published = SDD

    kind: Literal["kolektor_sdd"] = "kolektor_sdd"

    def listing(self) -> Listing:
        """List the images; nothing says which are for training, so the normal ones are undivided."""
        return _list(self, SDD, SDD_COUNTS, _Pairs("_label", "kos*", {}))


class KolektorSdd2Config(LayoutConfig):
    """KolektorSDD2 as it is published.

    The defective images of its train part are for supervised methods; here they are never fitted on nor tested
    on, and go to the validation part.
    """

    published = SDD2

    kind: Literal["kolektor_sdd2"] = "kolektor_sdd2"

    def listing(self) -> Listing:
        """List the images of train and test."""
        return _list(self, SDD2, SDD2_COUNTS, _Pairs("_GT", "t*", {"train": "train", "test": "test"}))


class _Pairs(NamedTuple):
    """How the masks are called, which folders there are, and what part each is."""

    suffix: str
    folders: str
    parts: dict[str, Part]


def _list(config: LayoutConfig, published: Published, counts: Counts, pairs: _Pairs) -> Listing:
    rule = f"root is the folder of {published.name}: {published.layout}"
    try:
        root = existing_root(config, rule, published.remedy)
    except DatasetError as error:
        return Listing(errors=list(error.problems))
    listing = Listing(layout=published.layout)
    for folder in entries(root):
        if folder.is_dir() and folder.match(pairs.folders) and (not pairs.parts or folder.name in pairs.parts):
            _list_folder(root, folder, config, pairs, listing)
        else:
            listing.strays.append(folder)
    if not listing.samples and not listing.errors:
        listing.error(f"{root}: no images in such folders", rule, published.remedy, ("root",))
    return join_categories(config, published.name, {config.kind: counts}, {config.kind: listing})


def _list_folder(root: Path, folder: Path, config: LayoutConfig, pairs: _Pairs, listing: Listing) -> None:
    found = images(folder, listing)
    masks = {path.stem.removesuffix(pairs.suffix): path for path in found if path.stem.endswith(pairs.suffix)}
    part = pairs.parts.get(folder.name)
    for path in found:
        if path.stem.endswith(pairs.suffix):
            continue
        mask = masks.get(path.stem)
        if mask is None:
            rule = "the mask beside an image says whether it has a defect"
            listing.error(f"{path}: no mask", rule, f"add {path.stem}{pairs.suffix}, as it is published")
            continue
        try:
            anomalous = bool(to_mask(decode(read_bytes(mask), mask)).any())
        except DatasetError as error:
            listing.errors += error.problems
            continue
        source = FileImage(path, mask if anomalous else None)
        listing.samples.append(_sample(config.kind, relative_name(path, root), source, part))


def _sample(category: str, name: str, source: FileImage, part: Part | None) -> Sample:
    """An image of a part as it is published, anomalous where it has a mask; a defect to train on is for validation."""
    anomalous = source.mask_path is not None
    origin: Origin = "train" if part == "train" else "test" if part == "test" or anomalous else "undivided"
    used_as: Part | None = "validation" if anomalous and part == "train" else part
    return Sample(category, name, origin, DEFECT if anomalous else GOOD, source, part=used_as)
