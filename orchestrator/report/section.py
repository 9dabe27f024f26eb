"""What a section of the report is made of, and what several of them say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.comparisons import identities, identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.results import Row
    from adloc.report.charts.figure import Figure
    from adloc.report.tables import Table

SHOWN = ("image_auroc", "image_auprc", "image_f1", "pixel_auroc", "pixel_aupro")
NOT_OF_WHO = ("category", "regime", "repeat")
COSTS = ("fit_s", "score_ms_per_image", "model_mb")
OBJECTIVES = {
    "f1": "that of the largest F1",
    "normal_quantile": "a quantile of the normal images' scores",
    "normal_max": "just above the normal images' scores",
    "guaranteed_fpr": "that which keeps a rate of false alarms with a stated confidence",
    "cost": "that of the smallest expected cost at the stated rates",
}
NOISE = (
    "Intervals (95 %) come from a bootstrap over the test images, normal and anomalous ones drawn separately; the "
    "fitted model and its threshold are held fixed. They say how far a figure would move with other test images of "
    "the same kind, not with another split or seed. An interval of no width at 1.000 means that no resample makes a "
    "mistake, not that none is possible. Those of false alarms and misses are exact ones (Clopper and Pearson), and of "
    "an average at least 95 %."
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the page.

    Attributes:
        uri: a data URI.
        caption: what it shows.
    """

    uri: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        name: anchor.
        title: head.
        lead: what stands out above all of it; "" for nothing.
        text: paragraphs.
        tables: with their files.
        figures: with their files.
        notes: small print under all of it.
        kind: "gallery" and "pairs" have their own layout.
        pictures: shown below tables and figures.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    kind: str = ""
    pictures: tuple[Picture, ...] = ()
    lead: str = ""


def who(row: Row) -> tuple[object, ...]:
    """What a row is of, but for category, regime and repeat."""
    return (row["category"], *identity(row, *NOT_OF_WHO))


def each_who(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    """The same of every row of one table."""
    return [(row["category"], *of) for row, of in zip(rows, identities(rows, *NOT_OF_WHO), strict=True)]
