"""Whether an anomaly map reaches the threshold, and where: what a verdict on the image score alone does not say.

The image score is of unsmoothed patches, the map is smoothed: an image can be flagged while its map is cold, or
warm where the defect is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Contour = Literal["on defect", "elsewhere", "none"]

_WORDS: dict[tuple[str, Contour], str] = {
    ("hit", "on defect"): "hit, located",
    ("hit", "elsewhere"): "hit, contour elsewhere",
    ("hit", "none"): "hit, no contour",
    ("false alarm", "none"): "false alarm, map cold",
}
_DOUBTFUL = ("hit, contour elsewhere", "hit, no contour", "false alarm, map cold")


def find_contour(
    anomaly_map: NDArray[np.floating], mask: NDArray[np.bool_], threshold: float | None, *, anomalous: bool
) -> Contour | None:
    """Where the map reaches the threshold: "on defect" when one of its regions shares a pixel with a true one.

    Args:
        anomaly_map: (height, width), raw.
        mask: (height, width), True on defect pixels.
        threshold: of the image score; None when none was calibrated.
        anomalous: what the image is.

    Returns:
        None where it cannot be said: without a threshold, or when a defect has no mask.
    """
    if threshold is None:
        return None
    warm = anomaly_map >= threshold
    if not warm.any():
        return "none"
    if anomalous and not mask.any():
        return None
    return "on defect" if bool((warm & mask).any()) else "elsewhere"


def verdict_words(verdict: str, contour: str) -> str:
    """The verdict with what the map adds to it: "hit, contour elsewhere".

    Args:
        verdict: of the image score: "hit", "miss", "false alarm", "correct rejection", "no threshold".
        contour: as recorded; "" of a picture that was drawn before contours were: the verdict stands alone.

    Example:
        >>> verdict_words("hit", "elsewhere"), verdict_words("hit", ""), verdict_words("miss", "none")
        ('hit, contour elsewhere', 'hit', 'miss')
    """
    return next((words for (of, at), words in _WORDS.items() if (of, at) == (verdict, contour)), verdict)


def tone(words: str) -> str:
    """The colour's name: the verdict's own, or "doubtful" where the map does not bear the verdict out."""
    return "doubtful" if words in _DOUBTFUL else words.partition(",")[0].replace(" ", "-")
