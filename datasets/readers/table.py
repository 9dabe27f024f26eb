"""A table of images: CSV or Parquet with the columns path and label, and what else is known of each image."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field, field_serializer

from adloc.datasets.config import KindConfig
from adloc.datasets.decoding import read_bytes
from adloc.datasets.fetched import as_url, local_root
from adloc.datasets.file_image import FileImage
from adloc.datasets.natural_order import natural_key
from adloc.datasets.readers.listing import Listing
from adloc.datasets.readers.mvtec_layout import warn_of_missing_masks
from adloc.datasets.sample import GOOD, Part, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.datasets.sample import Origin

COLUMNS = ("path", "label", "category", "defect", "part", "mask", "domain", "group")
NORMAL = ("0", "normal", "good", "ok", "false")
ANOMALOUS = ("1", "anomalous", "anomaly", "bad", "ng", "true")
ANY_DEFECT = "anomalous"
_RULE = f"a table has the columns path and label, and of {', '.join(COLUMNS[2:])} those that are known"


class TableConfig(KindConfig):
    """A CSV or Parquet file with a row for each image."""

    kind: Literal["table"] = "table"
    file: Path = Field(
        description="CSV or Parquet, or its URL; its paths are relative to the folder that holds it; ~ is expanded",
        json_schema_extra={
            "rule": "it must be a CSV or Parquet file",
            "remedy": "write its path: file: /data/images.csv",
        },
    )

    @field_serializer("file")
    def _as_it_was_written(self, file: Path) -> str:
        return as_url(file) or str(file)

    def listing(self) -> Listing:
        """List the rows as samples, category by category; every mistake with its row."""
        path, listing = local_root(self.file.parent) / self.file.name, Listing()
        rows = _rows(path, listing)
        seen: dict[tuple[str, str], str] = {}
        for number, row in rows:
            _add(path, number, row, seen, listing)
        if not listing.samples and not listing.errors:
            listing.error(f"{path}: no rows", _RULE, "add a row for each image", ("file",))
        listing.samples.sort(key=lambda sample: (natural_key(sample.category), natural_key(sample.name)))
        for category in dict.fromkeys(sample.category for sample in listing.samples):
            samples = [sample for sample in listing.samples if sample.category == category]
            warn_of_missing_masks(listing, samples, path)
            if not any(sample.label == 0 and sample.origin != "test" for sample in samples):
                rule = "every category needs normal images to fit on"
                listing.error(f"{path}: no normal images of {category} outside the test", rule, "add some", ("file",))
        return listing


def _rows(path: Path, listing: Listing) -> Sequence[tuple[str, Mapping[str, str]]]:
    """The rows as text, each with where it is: "images.csv: row 3" (the header is row 1)."""
    import pandas as pd

    if not path.is_file():
        listing.error(f"{path}: no such file", _RULE, "check the path", ("file",))
        return []
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(BytesIO(read_bytes(path)))
            frame = frame.astype(object).where(frame.notna(), "").astype(str)
        else:
            frame = pd.read_csv(BytesIO(read_bytes(path)), dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        listing.error(f"{path}: cannot be read ({error})", "a table is CSV or Parquet", "export it again", ("file",))
        return []
    unknown = [str(name) for name in frame.columns if name not in COLUMNS]
    missing = [name for name in COLUMNS[:2] if name not in frame.columns]
    if missing:
        found = f"{path}: no column {' and '.join(missing)}; there are {', '.join(map(str, frame.columns))}"
        listing.error(found, _RULE, "rename the columns", ("file",))
        return []
    if unknown:
        listing.warn(f"{path}: columns that are not read: {', '.join(unknown)}", _RULE, "rename them, or leave them")
    records: list[dict[str, str]] = frame.to_dict("records")
    return [(f"{path}: row {number}", row) for number, row in enumerate(records, start=2)]


def _add(table: Path, where: str, row: Mapping[str, str], seen: dict[tuple[str, str], str], listing: Listing) -> None:
    values = {name: str(row.get(name, "")).strip() for name in COLUMNS}
    category, name = values["category"] or table.stem, values["path"].replace("\\", "/")
    if not _is_readable(where, values, listing):
        return
    if (category, name) in seen:
        listing.error(f"{where}: {name} is in {seen[category, name]} already", "an image has one row", "leave one row")
        return
    seen[category, name] = where.rpartition(": ")[2]
    anomalous = values["label"].lower() in ANOMALOUS
    if anomalous and not _is_consistent(where, values, listing):
        return
    defect = (values["defect"] or ANY_DEFECT) if anomalous else GOOD
    listing.samples.append(_sample(table, category, name, defect, values))
    if not anomalous and values["mask"]:
        listing.good_masks.append(table.parent / values["mask"])


def _is_readable(where: str, values: Mapping[str, str], listing: Listing) -> bool:
    """Whether a row names an image, and says what is asked in the words for it; else an error is listed."""
    label, part = values["label"].lower(), values["part"].lower()
    broken = next((column for column, value in values.items() if "\0" in value), None)
    if not values["path"] or broken is not None:
        found = f"a NUL character in {broken}" if broken else "no path"
        listing.error(f"{where}: {found}", "every row names an image", "fill in its path")
        return False
    if label not in (*NORMAL, *ANOMALOUS):
        rule = f"a label is one of {', '.join(NORMAL)}, or of {', '.join(ANOMALOUS)}"
        listing.error(f"{where}: label is {values['label'] or 'empty'}", rule, "use 0 for normal, 1 for anomalous")
        return False
    if part and part not in get_args(Part):
        rule = f"a part is {', '.join(get_args(Part))}, or empty"
        listing.error(f"{where}: part is {part}", rule, "use one of them, or leave it empty")
        return False
    return True


def _is_consistent(where: str, values: Mapping[str, str], listing: Listing) -> bool:
    """Whether the row of an anomalous image has a part and a defect that such an image can have; else an error."""
    if values["part"].lower() == "train":
        rule = "methods are fitted on normal images; train.contamination says how many others are mixed in"
        listing.error(f"{where}: an anomalous image in part train", rule, "use part validation, or leave it empty")
        return False
    if values["defect"] == GOOD:
        rule, found = (
            f"{GOOD} is the defect type of normal images",
            f"label {values['label'].lower()} with defect {GOOD}",
        )
        listing.error(f"{where}: {found}", rule, "mend the label or the defect")
        return False
    return True


def _sample(table: Path, category: str, name: str, defect: str, values: Mapping[str, str]) -> Sample:
    anomalous = defect != GOOD
    parts: dict[str, Part] = {part: part for part in get_args(Part)}
    part = parts.get(values["part"].lower())
    origin: Origin = "train" if part in ("train", "validation") else "test" if part or anomalous else "undivided"
    if anomalous:
        origin = "train" if part == "validation" else "test"
    mask = table.parent / values["mask"] if anomalous and values["mask"] else None
    known = not anomalous or mask is not None
    source = FileImage(table.parent / name, mask, mask_known=known)
    identity = PurePosixPath(name).as_posix()
    return Sample(
        category, identity, origin, defect, source, known, values["domain"] or None, values["group"] or None, part
    )
