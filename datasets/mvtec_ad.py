"""MVTec AD, and any other folder of its layout: the configuration, the samples, the check.

The catalogue of counts: P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger, C. Steger, "The MVTec Anomaly
Detection Dataset: A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection", IJCV 129 (2021).
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.folder import natural_key, problems, scan_category
from adloc.datasets.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adloc.datasets.sample import Sample


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of one category of MVTec AD: numbers of images, number of defect types."""

    surface: Literal["texture", "object"]
    n_train: int
    n_test_good: int
    n_test_anomalous: int
    n_defect_types: int


CATALOGUE: Mapping[str, Published] = MappingProxyType(
    {
        "carpet": Published("texture", 280, 28, 89, 5),
        "grid": Published("texture", 264, 21, 57, 5),
        "leather": Published("texture", 245, 32, 92, 5),
        "tile": Published("texture", 230, 33, 84, 5),
        "wood": Published("texture", 247, 19, 60, 5),
        "bottle": Published("object", 209, 20, 63, 3),
        "cable": Published("object", 224, 58, 92, 8),
        "capsule": Published("object", 219, 23, 109, 5),
        "hazelnut": Published("object", 391, 40, 70, 4),
        "metal_nut": Published("object", 220, 22, 93, 4),
        "pill": Published("object", 267, 26, 141, 7),
        "screw": Published("object", 320, 41, 119, 5),
        "toothbrush": Published("object", 60, 12, 30, 1),
        "transistor": Published("object", 213, 60, 40, 4),
        "zipper": Published("object", 240, 32, 119, 7),
    }
)

_ROOT_RULE = "root is the folder whose subfolders are the categories, each with train/good and test inside"
_WHERE_FROM = (
    "MVTec AD: the page 'MVTec Anomaly Detection Dataset' of the MVTec company"
    " (https://www.mvtec.com/company/research/datasets/mvtec-ad), free for research after accepting the"
    " licence; unpack it and set MVTEC_AD_ROOT to that folder: export MVTEC_AD_ROOT=/path/to/mvtec_ad."
    " Or try the same study on the embedded textures:"
    " --set dataset='{kind: textures, categories: all}'"
)


class MvtecAdConfig(BaseModel):
    """A folder of the MVTec AD layout; its categories need not be those of MVTec AD."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mvtec_ad"] = "mvtec_ad"
    root: Path = Field(
        description="folder whose subfolders are the categories; ~ is expanded",
        json_schema_extra={
            "rule": "it must be the folder whose subfolders are the categories",
            "remedy": "use ${MVTEC_AD_ROOT}, with that variable set",
        },
    )
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["all"] = Field(
        default="all",
        description="names of subfolders of root, or all of them in natural order",
        json_schema_extra={
            "rule": "it must be a list of subfolders of root, each once, or all",
            "remedy": "use all, or names as in [hazelnut, carpet, zipper]",
        },
    )

    @field_validator("categories")
    @classmethod
    def _name_each_once(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        twice = [name for name, n in Counter(value).items() if n > 1] if isinstance(value, tuple) else []
        if twice:
            message = (
                f"each category may be named once, {', '.join(twice)} is there twice\n"
                f"use [{', '.join(dict.fromkeys(value))}]"
            )
            raise ValueError(message)
        return value


def available_categories(root: Path) -> list[str]:
    """Return the subfolders of `root` that have a train folder inside, in natural order."""
    names = sorted((folder.name for folder in root.iterdir()), key=natural_key)
    return [name for name in names if not name.startswith(".") and (root / name / "train").is_dir()]


def samples(config: MvtecAdConfig) -> list[Sample]:
    """Return the samples of the chosen categories, category by category in the order asked for.

    Lists folders only; no image is opened.

    Raises:
        DatasetError: no such root, unknown categories, folders missing or empty, masks missing; all named.
    """
    root = config.root.expanduser()
    scanned: list[Sample] = []
    errors: list[Problem] = []
    for category in _chosen(root, config.categories):
        try:
            scanned += scan_category(root, category)
        except DatasetError as error:
            errors += error.problems
    if errors:
        raise DatasetError(*errors)
    return scanned


def check(config: MvtecAdConfig) -> Report:
    """Return all that is wrong with the chosen categories; every file is decoded.

    Beside the problems of the layout: a category named as one of MVTec AD whose counts differ from the
    published ones is a warning.
    """
    root = config.root.expanduser()
    try:
        categories = _chosen(root, config.categories)
    except DatasetError as error:
        return Report(errors=error.problems)
    report = Report()
    for category in categories:
        report += problems(root, category) + _compare_with_published(root, category)
    return report


def _chosen(root: Path, categories: tuple[str, ...] | str) -> list[str]:
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DatasetError(Problem(f"{root}: {what}", _ROOT_RULE, _WHERE_FROM, ("root",)))
    available = available_categories(root)
    if not available:
        raise DatasetError(Problem(f"{root}: no category inside", _ROOT_RULE, _elsewhere(root), ("root",)))
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


def _nearest(name: str, available: list[str]) -> str:
    return difflib.get_close_matches(name.lower(), available, n=1, cutoff=0)[0]


def _elsewhere(root: Path) -> str:
    """Say where the categories probably are, when root is one folder too low or too high."""
    if (root / "train").is_dir():
        return f"{root} is itself a category: use root {root.parent} with categories [{root.name}]"
    below = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and available_categories(folder)]
    return f"use root {below[0]}" if below else _WHERE_FROM


def _compare_with_published(root: Path, category: str) -> Report:
    if category not in CATALOGUE:
        return Report()
    try:
        scanned = scan_category(root, category)
    except DatasetError:  # already in the report, with the reason why the counts differ
        return Report()
    known = CATALOGUE[category]
    there = Published(
        known.surface,
        n_train=sum(sample.origin == "train" for sample in scanned),
        n_test_good=sum(sample.origin == "test" and sample.label == 0 for sample in scanned),
        n_test_anomalous=sum(sample.label for sample in scanned),
        n_defect_types=len({sample.defect for sample in scanned if sample.label}),
    )
    if there == known:
        return Report()
    return Report(
        warnings=(
            Problem(
                f"{root / category}: {_in_words(there)}",
                f"MVTec AD's {category} has {_in_words(known)}",
                "unpack the category again, or do not compare its figures with published ones",
            ),
        )
    )


def _in_words(counts: Published) -> str:
    return (
        f"{counts.n_train} train/good, {counts.n_test_good} test/good and {counts.n_test_anomalous} anomalous"
        f" images of {counts.n_defect_types} types"
    )
