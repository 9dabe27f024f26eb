"""The categories of a dataset, one listing of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.errors import DatasetError
from adloc.datasets.readers.listing import Listing
from adloc.datasets.readers.options import chosen, existing_root, set_domains, subfolders
from adloc.datasets.readers.published import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from adloc.datasets.readers.options import CategoriesConfig, ReaderConfig
    from adloc.datasets.readers.published import Counts, Published


def list_published(
    config: CategoriesConfig,
    published: Published,
    counts: Mapping[str, Counts],
    inside: str,
    list_one: Callable[[Path], Listing],
) -> Listing:
    """List the categories of a published dataset, whose folders lie in root.

    Args:
        config: root, and the categories that are wanted.
        published: where it is to be had.
        counts: published numbers of images by category; those of other categories are not compared.
        inside: what the folder of a category has inside, by which it is known as one: "train".
        list_one: lists the folder of a category.
    """
    rule = f"root is the folder whose subfolders are the categories of {published.name}: {published.layout}"
    try:
        root = existing_root(config, rule, published.remedy)
        available = subfolders(root, inside)
        if not available:
            listing = Listing()
            listing.error(f"{root}: no category inside", rule, published.remedy, ("root",))
            return listing
        names = chosen(root, config.categories, available)
    except DatasetError as error:
        return Listing(errors=list(error.problems))
    return join_categories(config, published.name, counts, {name: list_one(root / name) for name in names})


def join_categories(
    config: ReaderConfig, dataset: str, counts: Mapping[str, Counts], listings: Mapping[str, Listing]
) -> Listing:
    """Join the listings of categories, compare their counts with the published ones, and set the domains."""
    whole = Listing()
    for name, listing in listings.items():
        if name in counts and not listing.errors:
            listing.warnings += compare(dataset, name, counts[name], listing.samples)
        whole.join(listing)
    set_domains(whole, config)
    return whole
