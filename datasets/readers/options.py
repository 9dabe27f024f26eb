"""What the configurations of all readers share: root, categories, masks, domain."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, field_serializer

from adloc.datasets.config import KindConfig
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.fetched import as_url, local_root
from adloc.datasets.natural_order import natural_key

if TYPE_CHECKING:
    from adloc.datasets.readers.listing import Listing


def _each_once(value: tuple[str, ...] | str) -> tuple[str, ...] | str:
    twice = [name for name, n in Counter(value).items() if n > 1] if isinstance(value, tuple) else []
    if twice:
        once = ", ".join(dict.fromkeys(value))
        message = f"each category may be named once, {', '.join(twice)} is there twice\nuse [{once}]"
        raise ValueError(message)
    return value


def one_group(value: str | None) -> str | None:
    """Return a regular expression that has one group, or one called domain or group, unchanged.

    Raises:
        ValueError: it does not compile, or it is not clear which group is meant.
    """
    if value is None:
        return None
    try:
        pattern = re.compile(value)
    except re.error as error:
        message = f'it must be a regular expression: {error}\nwrite for example "_(?P<domain>[a-z0-9]+)\\\\.png$"'
        raise ValueError(message) from None
    if pattern.groups != 1 and not {"domain", "group"} & pattern.groupindex.keys():
        message = (
            f"it must have one group in brackets, whose text is taken; it has {pattern.groups}\n"
            'write for example "_([a-z0-9]+)\\\\.png$", or (?:...) for brackets that are not taken'
        )
        raise ValueError(message)
    return value


Categories = Annotated[
    Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all"],
    AfterValidator(_each_once),
]
Pattern = Annotated[str, AfterValidator(one_group)]
Masks = Literal["required", "optional"]


class ReaderConfig(KindConfig):
    """What every reader of files is told."""

    root: Path = Field(
        description="folder of the dataset, or its URL: s3://bucket/parts; ~ is expanded",
        json_schema_extra={"rule": "it must be the dataset's folder", "remedy": "write its path: root: /data/parts"},
    )
    domain: Pattern | None = Field(
        default=None,
        description="regular expression with one group: what it finds in an image's path inside its category is the "
        "image's domain",
    )

    @field_serializer("root")
    def _as_it_was_written(self, root: Path) -> str:
        return as_url(root) or str(root)


class LayoutConfig(ReaderConfig):
    """What every reader of a known layout is told."""

    masks: Masks = Field(
        default="required",
        description="required: every anomalous image has a mask; optional: pixel metrics are over those that have one",
        json_schema_extra={
            "rule": "it must be required or optional",
            "remedy": "use optional when some anomalous images have no mask",
        },
    )


class CategoriesConfig(LayoutConfig):
    """What a reader of several categories is told."""

    categories: Categories = Field(
        default="all",
        description="names of subfolders of root, or all of them in natural order",
        json_schema_extra={
            "rule": "it must be a list of subfolders of root, each once, or all",
            "remedy": "use all, or names as in [hazelnut, carpet, zipper]",
        },
    )


def existing_root(config: ReaderConfig, rule: str, where_from: str) -> Path:
    """Return the root with ~ expanded, of a URL its place in this machine's cache.

    Raises:
        DatasetError: there is no such folder; with where the dataset is to be had.
    """
    root = local_root(config.root)
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DatasetError(Problem(f"{as_url(config.root) or root}: {what}", rule, where_from, ("root",)))
    return root


def chosen(root: Path, categories: tuple[str, ...] | str, available: list[str]) -> list[str]:
    """Return the categories asked for, in that order; all that are available, in theirs.

    Raises:
        DatasetError: naming each that is not there, with the nearest that is.
    """
    if isinstance(categories, str):
        return available
    unknown = [
        Problem(
            f"{root / name}: no such category",
            f"the categories in {root} are {', '.join(available)}",
            f"use {_nearest(name, available)}, or all",
            ("categories", i),
        )
        for i, name in enumerate(categories)
        if name not in available
    ]
    if unknown:
        raise DatasetError(*unknown)
    return list(categories)


def subfolders(root: Path, inside: str) -> list[str]:
    """Return the subfolders of `root` that have a folder or file `inside`, in natural order."""
    names = sorted((folder.name for folder in root.iterdir()), key=natural_key)
    return [name for name in names if not name.startswith(".") and (root / name / inside).exists()]


def captured(pattern: re.Pattern[str], name: str, group: str) -> str | None:
    """Return what a pattern's group (by that name, else its only one) finds in a name; None when it finds nothing."""
    found = pattern.search(name)
    if found is None:
        return None
    text = found[group] if group in pattern.groupindex else found[1]
    return text or None


def set_domains(listing: Listing, config: ReaderConfig) -> None:
    """Give the samples of a listing the domains that the configuration's pattern finds in their names."""
    if config.domain is None or not listing.samples:
        return
    pattern = re.compile(config.domain)
    listing.samples = [replace(s, domain=captured(pattern, s.name, "domain")) for s in listing.samples]
    without = [sample for sample in listing.samples if sample.domain is None]
    if without:
        found = f"{without[0].source.location}: no domain in its name; so it is for {len(without)} images"
        rule = f"domain {config.domain} must find one in an image's path inside its category: {without[0].name}"
        if len(without) == len(listing.samples):
            listing.error(found, rule, "mend the pattern; `data check` lists what it finds", ("domain",))
        else:
            listing.warn(found, rule, "mend the pattern, or expect these images in no domain")


def _nearest(name: str, available: list[str]) -> str:
    return difflib.get_close_matches(name.lower(), available, n=1, cutoff=0)[0]
