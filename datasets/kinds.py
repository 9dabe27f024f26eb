"""The kinds of dataset, for people who choose one: what each is, and where it is to be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from adloc.datasets import AnyDataset


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of dataset.

    Attributes:
        kind: as in a study file: "mvtec_ad".
        what: in a sentence.
        name: of the published dataset; None for one's own images, and for those that are made.
        licence: of the published dataset.
        page: the publisher's.
    """

    kind: str
    what: str
    name: str | None
    licence: str | None
    page: str | None


def kinds() -> tuple[Kind, ...]:
    """Every kind that a study file may name, in the order of `AnyDataset`."""
    found = []
    for config in get_args(AnyDataset):
        what = (config.__doc__ or "").partition("\n")[0].rstrip(".")
        facts = getattr(config, "published", None)
        published = (facts.name, facts.licence, facts.page) if facts else (None, None, None)
        found.append(Kind(config.model_fields["kind"].default, what, *published))
    return tuple(found)
