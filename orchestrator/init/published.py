"""Layouts that are published: which readers may take a folder as it is, by a mark that each of them has."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from adloc.datasets.readers import kolektor, mpdd, real_iad, visa
from adloc.datasets.readers.listing import entries
from adloc.datasets.readers.options import subfolders
from adloc.init.candidate import Candidate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_RESOLUTIONS = ("1024", "512", "256", "raw")
_LEAST = {"path", "label"}


def published_candidates(root: Path) -> Iterator[Candidate]:
    """Yield the published layouts whose mark a folder has, the more particular ones first."""
    yield from _tables(root)
    if (root / visa.LIST).is_file():
        yield from _with_masks("visa", visa.PUBLISHED.name, root)
    if any((root / "realiad_jsons").glob("*.json")):
        there = [name for name in _RESOLUTIONS if (root / f"realiad_{name}").is_dir()]
        for resolution in there[:1]:
            yield from _with_masks(
                "real_iad", real_iad.PUBLISHED.name, root, group="/(S[0-9]+)/", resolution=resolution
            )
    if any(root.glob("kos*/*_label.*")):
        yield from _with_masks("kolektor_sdd", kolektor.SDD.name, root, group="^(kos[0-9]+)/")
    if any(root.glob("train/*_GT.*")):
        yield from _with_masks("kolektor_sdd2", kolektor.SDD2.name, root)
    if _has_domains(root):
        yield from _with_masks("aebad_s", "AeBAD-S", root)
    yield from _of_categories(root)
    if (root / "train").is_dir() and (root / "test").is_dir():  # a category by itself
        yield from _of_categories(root.parent, (root.name,))


def _of_categories(root: Path, only: Sequence[str] | None = None) -> Iterator[Candidate]:
    """The layouts of one folder a category. Those with a part or a name of their own come before MVTec AD's."""
    for kind, name, mark in (
        ("mvtec_ad_2", "MVTec AD 2", "test_public"),
        ("mvtec_loco", "MVTec LOCO AD", "validation/good"),
        ("btad", "BTAD", "train/ok"),
        ("mvtec_ad", "MVTec AD", "train/good"),
    ):
        marked = [folder for folder in subfolders(root, mark) if only is None or folder in only]
        if not marked or any(_n_kinds(root / folder / "train") > 1 for folder in marked):  # the reader takes one
            continue
        if kind == "mvtec_ad" and set(marked) <= mpdd.COUNTS.keys():
            yield from _with_masks("mpdd", mpdd.PUBLISHED.name, root, categories=marked)
        yield from _with_masks(kind, name, root, categories=marked)
        yield from _without_the_wrong(kind, name, root, marked)


def _with_masks(
    kind: str,
    name: str,
    root: Path,
    *,
    group: str | None = None,
    **keys: object,
) -> Iterator[Candidate]:
    """The layout as it is published; and with masks that some images lack."""
    for masks in ({}, {"masks": "optional"}):
        yield Candidate(f"the layout of {name}", {"kind": kind, "root": str(root), **keys, **masks}, (), group)


def _without_the_wrong(kind: str, name: str, root: Path, categories: Sequence[str]) -> Iterator[Candidate]:
    """The categories in which the reader finds nothing wrong, when that is so for some of several."""
    keys: dict[str, object] = {"kind": kind, "root": str(root), "masks": "optional"}
    wrong = {}
    for category in categories if len(categories) > 1 else ():
        errors = Candidate(name, {**keys, "categories": [category]}).listing().errors
        if errors:
            wrong[category] = errors[0].found
    usable = [category for category in categories if category not in wrong]
    if wrong and usable:
        notes = tuple(f"category {category} left out: {found}" for category, found in wrong.items())
        yield Candidate(f"the layout of {name}", {**keys, "categories": usable}, notes)


def _n_kinds(train: Path) -> int:
    return sum(entry.is_dir() for entry in entries(train))


def _has_domains(root: Path) -> bool:
    """Whether images lie one level deeper than in MVTec AD: train/good/<domain>."""
    inside = entries(root / "train" / "good")
    return any(entry.is_dir() for entry in inside) and any((root / "test").glob("*/*/*"))


def _tables(root: Path) -> Iterator[Candidate]:
    for path in entries(root):
        if path.suffix.lower() != ".csv":
            continue
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                columns = set(next(csv.reader(file), []))
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        if columns >= _LEAST:
            yield Candidate(f"the table {path.name}", {"kind": "table", "file": str(path)})
