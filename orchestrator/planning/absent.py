"""What a target domain lacks, and which runs are therefore not there. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.errors import Complaint
from adloc.thresholds import GUARANTEED, NEEDS_DEFECTS, too_few
from adloc.uncertainty.order_statistics import largest_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.datasets.split import SplitKind
    from adloc.planning.parts import ValidationPart
    from adloc.study_file.regimes import Regime
    from adloc.thresholds import ThresholdConfig


@dataclass(frozen=True, slots=True)
class Absent:
    """Runs that a study asks for and a target domain has no images for.

    Attributes:
        category: whose test images they would be of.
        regime: that needs what is not there.
        domain: the target.
        reason: "it has no normal images to fit on".
    """

    category: str
    regime: Regime
    domain: str
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.category}, {self.regime} on {self.domain}: {self.reason}"


def calibration_complaint(
    parts: Sequence[ValidationPart], config: ThresholdConfig, kind: SplitKind
) -> Complaint | None:
    """Why the images of these parts, of a category each, cannot give the threshold that is asked for.

    Args:
        parts: that one threshold is calibrated on.
        config: what is asked for.
        kind: of the split: what can be mended.
    """
    labels = Counter(sample.label for part in parts for sample in part.samples)
    categories = ", ".join(part.category for part in parts)
    missing = (
        "anomalous" if config.objective in NEEDS_DEFECTS and 1 not in labels else "normal" if 0 not in labels else ""
    )
    if missing:
        more = {"anomalous": "raise split.validation_defects", "normal": "lower split.train_fraction"}[missing]
        remedy = "use split.kind: drawn" if kind == "official" else more
        instead = ", or use thresholds.objective: normal_quantile" if missing == "anomalous" else ""
        return Complaint(
            f"{categories}: the validation part has no {missing} image",
            f"a threshold by {config.objective} needs one",
            f"{remedy}{instead}",
        )
    if config.objective == GUARANTEED and largest_rank(labels[0], config.fpr, config.confidence) is None:
        return too_few(f"{categories}: the validation part", labels[0], config)
    return None
