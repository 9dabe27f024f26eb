"""Why a figure of a run is empty: what its part lacks, metric by metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from adloc.metrics.registry import CHOICES, METRICS
from adloc.study_file.regimes import is_promised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from adloc.methods.detector import Result
    from adloc.planning.plan import Run
    from adloc.planning.stages import EvaluationStage
    from adloc.record.records import RunRecord

MOST_NAMED = 6
NOT_ASKED = "not among evaluation.metrics"
NO_VALIDATION = "there is no validation part"
NO_KINDS = "the dataset states no saturation thresholds"
NO_MAPS = "the method scores whole images, and gives no anomaly maps"
STREAMED = "it needs all maps at once, and evaluation.mode is streaming"


@dataclass(frozen=True, slots=True)
class Content:
    """What a part holds, as far as metrics depend on it.

    Attributes:
        title: "test part".
        n_normal: normal images.
        n_anomalous: anomalous images.
        n_masks: anomalous images with a mask.
        n_defect_pixels: at the evaluation size; void ones are none.
    """

    title: str
    n_normal: int
    n_anomalous: int
    n_masks: int
    n_defect_pixels: int

    @classmethod
    def of(cls, title: str, truth: Result) -> Content:
        """Count in the arrays of `adloc.computing.truth.read_truth`."""
        labels, known = truth.arrays["labels"], truth.arrays["known"]
        n_anomalous = int(labels.sum())
        # Bits that are packed eight a byte are counted as bytes: whether there are any is all that is asked.
        n_pixels = int((truth.arrays["masks"] != 0).sum())
        return cls(title, len(labels) - n_anomalous, n_anomalous, int(known[labels].sum()), n_pixels)

    def lacks_defects(self) -> str | None:
        """Why no pixel metric is defined here; None where they are."""
        if not self.n_anomalous:
            return f"the {self.title} has no anomalous image"
        if not self.n_masks:
            return f"no anomalous image of the {self.title} has a mask"
        if not self.n_defect_pixels:
            return f"no defect of the {self.title} has a pixel left at the evaluation size"
        return None


def reasons(
    run: Run,
    metrics: Mapping[str, float | None],
    test: Content,
    validation: Content | None,
    *,
    has_maps: bool = True,
) -> dict[str, str]:
    """By result column, why it is empty: for every metric of images, pixels and thresholds that is None.

    Args:
        run: of the plan.
        metrics: that were found.
        test: what its test part holds.
        validation: the same of its validation part; None without one.
        has_maps: whether the method says where a defect is.
    """
    names = (m.name for m in METRICS.values() if m.level != "cost" and metrics.get(m.name) is None)
    wanted = [name for name in names if name != "threshold" or not validation]
    mapless = {name for name in wanted if not has_maps and name.removeprefix("val_").startswith("pixel_")}
    return {name: NO_MAPS if name in mapless else next(_why(name, run, test, validation)) for name in wanted}


def lacking(record: RunRecord, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Figures that a study reports and a good record of a run is silent on, or was not asked for.

    They are newer than the record, or `evaluation.metrics` has more in it now. Costs are of the time of the record.

    Args:
        record: of whatever version.
        asked: metrics of images and pixels.
    """
    silent = _reported(asked, has_validation=record.n_val > 0) - record.metrics.keys() - record.reasons.keys()
    then = {name for name, why in record.reasons.items() if why == NOT_ASKED and _is_asked(name, asked)}
    return tuple(name for name in METRICS if name in silent | then) if silent or then else ()


def told(incomplete: Mapping[str, Collection[str]]) -> str:
    """That figures of some records are lacking, in a sentence; "" where none are.

    Args:
        incomplete: what each is `lacking`, by run_id.
    """
    if not incomplete:
        return ""
    names = {name for found in incomplete.values() for name in found}
    first, *others = (name for name in METRICS if name in names)
    more = f", {', '.join(others)}" if len(others) < MOST_NAMED else f" and {len(others)} other figures"
    who = "1 record lacks" if len(incomplete) == 1 else f"{len(incomplete)} records lack"
    return f"{who} {first}{more}, which the study reports now: adloc study run completes them from what is kept"


@cache  # of thousands of records
def _reported(asked: tuple[str, ...], *, has_validation: bool) -> frozenset[str]:
    there = (m for m in METRICS.values() if has_validation or m.part == "test")
    found = {m.name for m in there if m.level != "cost" and _is_asked(m.name, asked)}
    return frozenset(found - {"threshold"})  # which has a place of its own


def _is_asked(name: str, asked: Collection[str]) -> bool:
    """Whether a study with these metrics of images and pixels reports a figure."""
    base = "pixel_f1" if name == "pixel_threshold" else name.removeprefix("val_")
    return base in asked or base not in CHOICES


def _why(name: str, run: Run, test: Content, validation: Content | None) -> Iterator[str]:
    """Every reason that holds, the first one first to be mended."""
    base = name.removeprefix("val_")
    if not _is_asked(name, run.test.metrics):
        yield NOT_ASKED
    yield from _why_no_threshold(name, run, validation)
    part = validation if name.startswith("val_") and validation else test
    if base.startswith("image_"):
        yield from _why_no_images(base, part)
    if base == "pixel_spro":
        yield from _why_no_spro(run.test)
    if base.startswith("pixel_"):
        yield from _why_no_pixels(base, part, validation)
    yield "not defined on these images"


def _why_no_threshold(name: str, run: Run, validation: Content | None) -> Iterator[str]:
    calibrated = METRICS[name].part == "validation" or METRICS[name].needs_threshold
    if calibrated and validation is None:
        yield NO_VALIDATION
    if name in ("expected_fpr", "upper_fpr") and not is_promised(run.regime):
        yield "the threshold is carried over to images of another domain"


def _why_no_images(metric: str, part: Content) -> Iterator[str]:
    for name in METRICS[metric].classes:
        if not getattr(part, f"n_{name}"):
            yield f"the {part.title} has no {name} image"


def _why_no_pixels(metric: str, part: Content, validation: Content | None) -> Iterator[str]:
    needed = (validation, part) if metric in ("pixel_f1", "pixel_threshold") else (part,)
    yield from (why for each in needed if each and (why := each.lacks_defects()))
    if metric == "pixel_aupimo" and not part.n_normal:
        yield f"the {part.title} has no normal image"


def _why_no_spro(stage: EvaluationStage) -> Iterator[str]:
    if not stage.truth.part.defect_kinds:
        yield NO_KINDS
    if stage.mode == "streaming":
        yield STREAMED
