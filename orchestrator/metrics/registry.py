"""Every metric of a result row, as a record: what it is called, how it reads and what it is not.

Light: importing this module imports no numpy, so that tables, tracking and tuning can look names up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Level = Literal["image", "pixel", "threshold", "cost"]
Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: the result column: "image_auroc".
        mlflow_name: "image/auroc".
        title: for a table's head or an axis: "image AUROC".
        level: what it is computed from: image scores, pixels of anomaly maps, a calibration, a measurement.
        part: whose images: "test", "validation", or "train" for the costs of a fit.
        low: the smallest possible value.
        high: the largest possible value.
        better: which direction is better; "none" where neither is.
        needs_threshold: empty when no threshold was calibrated.
        unit: "s", "ms", "MB" or "" for a pure number.
        definition: what it is, in a sentence.
        is_not: what it is easily taken for.
        source: where the definition comes from.
        function: what computes it, of image metrics: without a threshold "module:function" of scores and labels, at one
            the property of `adloc.metrics.classification.Confusion`. None of the others, which come from maps together.
        classes: of images that it needs; without one of them it is empty.
    """

    name: str
    mlflow_name: str
    title: str
    level: Level
    part: Literal["train", "validation", "test"]
    low: float
    high: float
    better: Direction
    needs_threshold: bool
    unit: str
    definition: str
    is_not: str
    source: str
    function: str | None = None
    classes: tuple[Literal["anomalous", "normal"], ...] = ()

    def __contains__(self, value: float) -> bool:
        """Whether a value lies in the metric's range; nan never does."""
        return self.low <= value <= self.high


_FAWCETT = "Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006"
_BERGMANN = "Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129, 2021, section 5"
_DAVIS = "Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006"


_BOTH: tuple[Literal["anomalous", "normal"], ...] = ("anomalous", "normal")


def _share(name: str, title: str, definition: str, is_not: str, source: str, function: str | None = None) -> Metric:
    """A threshold-free metric in [0, 1] of the test part, of both classes of images."""
    level, _, rest = name.partition("_")
    return Metric(
        name=name,
        mlflow_name=f"{level}/{rest}",
        title=title,
        level="image" if level == "image" else "pixel",
        part="test",
        low=0.0,
        high=1.0,
        better="higher",
        needs_threshold=False,
        unit="",
        definition=definition,
        is_not=is_not,
        source=source,
        function=function,
        classes=_BOTH,
    )


def _at_threshold(name: str, title: str, definition: str, is_not: str, function: str) -> Metric:
    """The same at the calibrated threshold, of anomalous images."""
    found = _share(name, title, definition, is_not, _FAWCETT, function)
    return replace(found, needs_threshold=True, classes=("anomalous",))


def _cost(name: str, title: str, unit: str, definition: str, is_not: str) -> Metric:
    """A measured quantity, the less the better."""
    return Metric(
        name=name,
        mlflow_name=f"cost/{name}",
        title=title,
        level="cost",
        part="test" if name == "score_ms_per_image" else "train",
        low=0.0,
        high=math.inf,
        better="lower",
        needs_threshold=False,
        unit=unit,
        definition=definition,
        is_not=is_not,
        source="measured",
    )


def _on_validation(metric: Metric) -> Metric:
    return replace(
        metric,
        name=f"val_{metric.name}",
        mlflow_name=f"val/{metric.name}",
        title=f"validation {metric.title}",
        part="validation",
        is_not=f"a final figure: thresholds and hyperparameters were chosen on these images; {metric.is_not}",
    )


_THRESHOLD = Metric(
    name="threshold",
    mlflow_name="threshold/image",
    title="threshold",
    level="threshold",
    part="validation",
    low=-math.inf,
    high=math.inf,
    better="none",
    needs_threshold=True,
    unit="",
    definition="the image score from which an image is called anomalous, calibrated on the validation part",
    is_not="comparable between methods, or between hyperparameters of one",
    source="adloc.thresholds",
)

_IMAGE = (
    _share(
        "image_auroc",
        "image AUROC",
        "how often an anomalous image outscores a normal one; a tie counts half",
        "the accuracy at any threshold: it may be 1 while the study's threshold is useless",
        _FAWCETT,
        "adloc.metrics.ranking:auroc",
    ),
    _share(
        "image_auprc",
        "image AUPRC",
        "average precision: step-wise area under the precision-recall curve of the image scores",
        "the trapezoidal area, which is too optimistic; nor comparable where the share of anomalies differs",
        _DAVIS,
        "adloc.metrics.ranking:average_precision",
    ),
    _at_threshold(
        "image_f1",
        "image F1",
        "harmonic mean of precision and recall at the calibrated threshold",
        "the largest F1 that some threshold would reach on these images",
        "f1",
    ),
    replace(
        _at_threshold(
            "image_accuracy",
            "image accuracy",
            "share of images judged rightly at the calibrated threshold",
            "fair when one class is rare: calling every image anomalous scores the share of anomalies",
            "accuracy",
        ),
        classes=(),
    ),
    _at_threshold(
        "image_precision",
        "image precision",
        "share of flagged images that are anomalous at the calibrated threshold; 0 when none is flagged",
        "the precision of a production line, where defects are rarer than here",
        "precision",
    ),
    _at_threshold(
        "image_recall",
        "image recall",
        "share of anomalous images that are flagged at the calibrated threshold",
        "a share of defects or of their area: an image with three defects counts once",
        "recall",
    ),
)

_ERROR_RATES = (
    replace(
        _at_threshold(
            "image_fpr",
            "image false-positive rate",
            "share of normal images that are flagged at the calibrated threshold: false alarms",
            "the share of flagged images that are false alarms, which is one minus the precision",
            "false_positive_rate",
        ),
        better="lower",
        classes=("normal",),
    ),
    replace(
        _at_threshold(
            "image_fnr",
            "image false-negative rate",
            "share of anomalous images that pass at the calibrated threshold: misses",
            "the share of passed images that are defective, which depends on how rare defects are",
            "false_negative_rate",
        ),
        better="lower",
    ),
)

_PIXEL_AUROC = _share(
    "pixel_auroc",
    "pixel AUROC",
    "how often a defect pixel outscores a normal one, over all pixels of all images",
    "fair to small defects: large ones rule it, and most pixels are easy",
    _FAWCETT,
)

_PIXEL_AUPRC = _share(
    "pixel_auprc",
    "pixel AUPRC",
    "average precision over all pixels of all images",
    "comparable between data sets whose defects differ in size: the share of defect pixels is what chance scores",
    _DAVIS,
)

_PIXEL_F1 = replace(
    _share(
        "pixel_f1",
        "pixel F1",
        "harmonic mean of precision and recall of pixels at the pixel threshold that the validation part gave",
        "the largest F1 that some threshold would reach on these images",
        _FAWCETT,
    ),
    needs_threshold=True,
)

_PIXEL_AUPIMO = _share(
    "pixel_aupimo",
    "AUPIMO",
    "recall of an image's defect pixels where 1e-5 to 1e-4 of the pixels of normal images are false alarms, averaged "
    "over the logarithm of that rate and over anomalous images",
    "comparable with PRO: at such rates most detectors find little, and large and small defects count as one image",
    "Bertoldo et al., AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low Tolerance, 2024",
)

_PIXEL_SPRO = _share(
    "pixel_spro",
    "sPRO",
    "mean saturated per-region overlap, averaged over false-positive rates up to 0.05: a region counts as whole from "
    "the saturation threshold that the dataset states for its kind of defect; each mask of an image is a region",
    "comparable with PRO, whose regions are connected and must be found whole",
    "Bergmann et al., Beyond Dents and Scratches, IJCV 130, 2022, section 4",
)

_PIXEL_THRESHOLD = replace(
    _THRESHOLD,
    name="pixel_threshold",
    mlflow_name="threshold/pixel",
    title="pixel threshold",
    needs_threshold=False,
    definition="the pixel score with the largest F1 over all pixels of the validation part",
    is_not="the image threshold, which is on another scale where the image score is no maximum of the map",
    source="adloc.metrics.regions",
)

_PRO = (
    _share(
        "pixel_aupro",
        "PRO",
        "mean per-region overlap, averaged over false-positive rates up to 0.3",
        "the overlap at the study's threshold; a constant map scores 0.15, not 0.5",
        _BERGMANN,
    ),
    _share(
        "pixel_aupro_005",
        "PRO at 0.05",
        "mean per-region overlap, averaged over false-positive rates up to 0.05",
        "comparable with PRO up to 0.3; a constant map scores 0.025",
        _BERGMANN,
    ),
)

_COSTS = (
    _cost(
        "fit_s",
        "fit",
        "s",
        "wall seconds that fitting this model takes by itself, the features of its train part included; over "
        "categories their sum, and of a unified model its own",
        "the time that this run took: shared stages are counted in full for every run that uses them",
    ),
    _cost(
        "score_ms_per_image",
        "score per image",
        "ms",
        "wall milliseconds of scoring a test image, its features included, averaged over passes in batches",
        "the latency of a single image sent alone; and no simulation of the shift is in it",
    ),
    _cost(
        "model_mb",
        "model",
        "MB",
        "size of the fitted model in 10^6 bytes, without the backbone; over categories the sum of their models, and of "
        "a unified model its own",
        "the peak memory of fitting or scoring",
    ),
)

_PEAK_MEMORY = _cost(
    "peak_memory_mb",
    "peak memory",
    "MB",
    "largest resident memory that the process had reached when the run was recorded, in 10^6 bytes",
    "the need of this run alone: runs before it in the same process count too, GPU memory does not",
)

_EXPECTED_FPR = Metric(
    name="expected_fpr",
    mlflow_name="promise/expected_fpr",
    title="expected false alarms",
    level="threshold",
    part="validation",
    low=0.0,
    high=1.0,
    better="lower",
    needs_threshold=True,
    unit="",
    definition="the share of normal images that the threshold flags is at most this on the average of calibrations",
    is_not="the rate of this threshold, nor one for images of another domain: they are not exchangeable",
    source="adloc.uncertainty.order_statistics: (k + 1) / (n + 1), more where the rank was chosen from the scores",
)

_UPPER_FPR = replace(
    _EXPECTED_FPR,
    name="upper_fpr",
    mlflow_name="promise/upper_fpr",
    title="false alarms, 95 % bound",
    definition="the share of normal images that the threshold flags is at most this in 95 % of calibrations",
    source="adloc.uncertainty.order_statistics: a Beta quantile, for all ranks at once where the rank was chosen",
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            _THRESHOLD,
            *_IMAGE,
            _PIXEL_AUROC,
            *_PRO,
            *(_on_validation(metric) for metric in (*_IMAGE, _PIXEL_AUROC)),
            *_COSTS,
            *_ERROR_RATES,
            *(_on_validation(metric) for metric in _ERROR_RATES),
            _PIXEL_AUPRC,
            _PIXEL_F1,
            _PIXEL_THRESHOLD,
            _PIXEL_AUPIMO,
            *(_on_validation(metric) for metric in (_PIXEL_AUPRC, _PIXEL_F1, _PIXEL_AUPIMO)),
            _PEAK_MEMORY,
            _EXPECTED_FPR,
            _UPPER_FPR,
            _PIXEL_SPRO,
        )
    }
)
"""By name, in the order of the result columns."""

CHOICES = tuple(m.name for m in METRICS.values() if m.part == "test" and m.level in ("image", "pixel"))
"""What `evaluation.metrics` chooses from."""

OF_IMAGES = tuple(METRICS[name] for name in CHOICES if METRICS[name].level == "image")
"""Those of image scores, each with the function that computes it."""
