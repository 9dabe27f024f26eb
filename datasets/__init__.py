"""The kinds of dataset: their configurations, their samples, their check.

Light to import: numpy, Pillow, OpenCV and torch are imported where pixels are touched. To add a kind of adloc's own,
write a module like `readers.mpdd`, and name its configuration class in `registry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.config import KindConfig
from adloc.datasets.errors import DatasetError, Problem
from adloc.datasets.registry import KINDS, DatasetConfig, OwnDataset, find_kind
from adloc.datasets.sample import ImageSource

if TYPE_CHECKING:
    from adloc.datasets.report import Report
    from adloc.datasets.sample import Sample

__all__ = ["KINDS", "DatasetConfig", "KindConfig", "OwnDataset", "check", "find_kind", "load_samples"]


def load_samples(config: KindConfig) -> list[Sample]:
    """Return the samples of a dataset, category by category in the order asked for; no image is read.

    Raises:
        DatasetError: naming all that keeps the dataset from being used, as far as names tell.
    """
    samples = config.listing().required()
    if config.kind not in KINDS:
        _check_foreign(config, samples)
    return samples


def check(config: KindConfig) -> Report:
    """Return all that is wrong with a dataset; every file is decoded."""
    from adloc.datasets.readers.examine import examine

    listing = config.listing()
    return listing.report() + examine(listing)


def _check_foreign(config: KindConfig, samples: list[Sample]) -> None:
    """Refuse what a package's own reader may get wrong, and adloc's readers do not.

    Raises:
        DatasetError: an image has no source, or two have one name.
    """
    key = ("kind",)
    if not samples:
        rule = "a dataset has images"
        raise DatasetError(Problem(f"kind {config.kind} lists no image", rule, "mend its listing", key))
    sources: list[object] = [sample.source for sample in samples]
    for source in sources:
        if not isinstance(source, ImageSource):
            lacking = [n for n in ("location", "stamp", "read", "fingerprint") if not hasattr(source, n)]
            found = f"kind {config.kind}: {type(source).__name__} has no {', '.join(lacking)}"
            rule = "the source of an image is an adloc.datasets.sample.ImageSource"
            raise DatasetError(Problem(found, rule, "see the example under `Add a dataset` in docs/extending.md", key))
    named: dict[str, Sample] = {}
    for sample in samples:
        if named.setdefault(sample.identity, sample) is not sample:
            rule = "an image's name is its identity in its category: none has that of another"
            raise DatasetError(Problem(f"kind {config.kind}: two images are {sample.identity}", rule, "name them", key))
