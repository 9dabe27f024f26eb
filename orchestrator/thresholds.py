"""The image threshold, from the raw scores of a validation part; an image is anomalous from there upwards.

Importing this module imports no numpy: the study file's configuration is read with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Objective = Literal["f1", "normal_quantile", "normal_max"]
ThresholdScope = Literal["category", "global", "both"]

DEFAULT_FPR = 0.01


class ThresholdConfig(BaseModel):
    """How thresholds are calibrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = Field(
        default="f1",
        description="f1: the largest F1 on the validation part, which needs anomalous images there; "
        "normal_quantile: at most the share fpr of its normal images is flagged; "
        "normal_max: none of its normal images is flagged",
        json_schema_extra={"rule": "it must be f1, normal_quantile or normal_max", "remedy": "use f1"},
    )
    scope: ThresholdScope = Field(
        default="category",
        description="category: a threshold for each; global: one for all; both: one run of each kind",
        json_schema_extra={"rule": "it must be category, global or both", "remedy": "use category"},
    )
    fpr: float = Field(
        default=DEFAULT_FPR,
        gt=0,
        lt=1,
        description="the largest share of normal validation images that normal_quantile may flag",
        json_schema_extra={
            "rule": "it must be above 0 and below 1, the share of normal validation images that may be "
            "flagged, and only objective: normal_quantile reads it",
            "remedy": "use 0.01 with objective: normal_quantile, or leave the key out",
        },
    )

    @field_validator("fpr")
    @classmethod
    def _only_where_it_is_read(cls, fpr: float, info: ValidationInfo) -> float:
        # The default is let through, so that a resolved study file can be read again.
        if fpr != DEFAULT_FPR and info.data.get("objective", "normal_quantile") != "normal_quantile":
            message = f"objective {info.data['objective']} does not read fpr\nuse objective: normal_quantile"
            raise ValueError(message)
        return fpr


def calibrate(scores: NDArray[np.floating], labels: NDArray[np.bool_ | np.integer], config: ThresholdConfig) -> float:
    """The threshold that a validation part gives.

    For one threshold for several categories, pass the pooled scores of all of them.

    Args:
        scores: (N,) raw image scores of the validation part.
        labels: (N,) True or 1 = anomalous. Only `f1` looks at the anomalous images.
        config: which objective, and its parameter.

    Raises:
        UserError: the part holds no image of a class that the objective needs, or a score is not finite.
        ValueError: shapes differ, or a label is neither 0 nor 1.
    """
    import numpy as np

    from adloc.metrics.ranking import checked

    values = np.asarray(scores)
    n_broken = int(np.count_nonzero(~np.isfinite(values)))
    if n_broken:
        raise UserError(
            Complaint(
                f"{n_broken} of {values.size} validation scores are nan or infinite",
                "a threshold lies between scores, so each of them must be a number",
                "look for a broken image, or for weights that overflow; the per-image scores name them",
            )
        )
    values, anomalous = checked(values, labels)
    _require(config.objective, n_normal=int((~anomalous).sum()), n_anomalous=int(anomalous.sum()))
    if config.objective == "f1":
        return largest_f1(values, anomalous)
    return normal_quantile(values[~anomalous], config.fpr if config.objective == "normal_quantile" else 0.0)


def largest_f1(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """The threshold with the largest F1: an observed score of an anomalous image.

    F1 can be largest only at such a score, where one more hit comes in. Every threshold between it and the
    next lower score gives the same F1 on these images; the observed score is returned, as usual, and not the
    midpoint. Among equal F1 the lowest score is returned: in inspection a missed defect costs more than a
    false alarm.

    Args:
        scores: (N,) finite.
        labels: (N,) at least one True (anomalous).
    """
    import numpy as np

    from adloc.metrics.ranking import rank

    ranking = rank(scores, labels)
    hits = np.cumsum(ranking.anomalous)
    flagged = hits + ranking.above + ranking.tied
    f1 = 2 * hits / (flagged + ranking.n_anomalous)
    # Equal fractions of such whole numbers are equal floats, so the ties are exact. Scores descend.
    return float(ranking.scores[np.flatnonzero(f1 == f1.max())[-1]])


def normal_quantile(scores: NDArray[np.floating], fpr: float) -> float:
    """The smallest threshold that flags at most the share `fpr` of these normal images.

    It lies one floating-point step (in the dtype of the scores) above a score, because an image is flagged
    when score >= threshold. With `fpr` 0 it is just above their maximum, and none is flagged. With N images
    no rate below 1 / N can be told from 0.

    Args:
        scores: (N,) finite scores of normal images, at least one.
        fpr: in [0, 1).
    """
    import numpy as np

    n = scores.size
    # Not floor(fpr * n): in floating point, 0.29 * 100 is a little less than 29.
    n_allowed = int(np.count_nonzero(np.arange(n) / n <= fpr)) - 1
    highest_passed = np.sort(scores)[n - 1 - n_allowed]
    return float(np.nextafter(highest_passed, np.inf, dtype=scores.dtype))


def _require(objective: Objective, n_normal: int, n_anomalous: int) -> None:
    """Refuse a validation part that does not hold what the objective needs."""
    if n_normal + n_anomalous == 0:
        raise UserError(
            Complaint(
                "the validation part is empty",
                "a threshold is calibrated on validation images",
                "use split.train_fraction: 0.8, or do without thresholded metrics",
            )
        )
    if n_normal == 0:
        raise UserError(
            Complaint(
                f"the validation part has {n_anomalous} anomalous images and no normal one",
                f"objective {objective} weighs false alarms, so it needs normal images",
                "use split.train_fraction: 0.8",
            )
        )
    if n_anomalous == 0 and objective == "f1":
        raise UserError(
            Complaint(
                f"the validation part has {n_normal} normal images and no anomalous one",
                "F1 is not defined without anomalous images",
                "use thresholds.objective: normal_quantile or normal_max, or split.validation_defects: 0.3",
            )
        )
