"""What is written of an image: a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """An image as it was judged, or why it was not.

    Attributes:
        path: of the image.
        score: raw, higher is more anomalous; None of a broken image.
        anomalous: whether score >= threshold; None of a broken image, and without a threshold.
        threshold: None where there is none.
        error: what is wrong with the image; None of one that was scored.
    """

    path: str
    score: float | None
    anomalous: bool | None
    threshold: float | None
    error: str | None


FIELDS = ("path", "score", "anomalous", "threshold", "error")
