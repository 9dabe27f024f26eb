"""Which images each part holds, and what was fitted, calibrated and tested on what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from adloc.answer.power import study_power
from adloc.report.section import OBJECTIVES, Section
from adloc.report.tables import Table, count, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.answer.material import Material
    from adloc.report.tables import Cell
    from adloc.study_file.axes import StudyShift


MOST_ROWS = 18  # of the table that are not folded


def protocol(material: Material, sealed: Sequence[str]) -> Section:
    """Counts of the parts, what each is used for, and what is `sealed` (sentences)."""
    spec = material.plan.spec
    rows: list[tuple[Cell, ...]] = []
    for category, parts in material.plan.parts.items():
        for title, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            kinds = Counter(s.defect for s in part.samples if s.label)
            n_anomalous = sum(kinds.values())
            listed = ", ".join(f"{name} {n}" for name, n in sorted(kinds.items()))
            rows.append(
                (words(category), words(title), count(len(part)), count(len(part) - n_anomalous), count(n_anomalous),
                 words(listed))
            )  # fmt: skip
    heads = ("category", "part", "images", "normal", "anomalous", "defect types")
    table = Table(
        "protocol", "Images of each part; no image is in two parts", heads, tuple(rows), long=len(rows) > MOST_ROWS
    )
    split = spec.split
    text = [
        f"Models are fitted on normal images only: {split.train_fraction:.0%} of each category's training images. "
        f"The rest of them and {split.validation_defects:.0%} of every defect type form the validation part, "
        "which alone "
        f"chooses thresholds ({OBJECTIVES[spec.thresholds.objective]}) and settings. Every figure below is of the "
        f"test part, which chose nothing. Split seed {split.seed}; {spec.repeats} "
        f"repeat{'s, each with its own split and seeds' if spec.repeats > 1 else ''}."
    ]
    if split.train_fraction == 1:
        text = [
            "The benchmark's standard split: all training images fit, all test images test. There is no validation "
            "part, so no threshold was calibrated and metrics at a threshold are left out."
        ]
    if split.kind == "official":
        text = [
            "The published parts, as they are: fitted on the training part, settings and thresholds chosen on the "
            "validation part where there is one, every figure below of the test part, which chose nothing."
        ]
    shifted = [r for r in material.regimes if r != "clean"]
    if shifted:
        text.append(
            f"The shifted domain ({spec.shift.preset}, severity {spec.shift.base_severity:g}, seed "
            f"{spec.shift.seed}) changes "
            "every image once, the same way in every run. Regimes: clean; no adaptation (model and threshold "
            "from clean "
            "images, tested on shifted ones); threshold only (threshold calibrated again on shifted validation "
            "images); "
            "full adaptation (fitted on shifted images as well)."
        )
        text.append(_shifted(spec.shift))
    text.append(" ".join(sealed))
    if (power := study_power(material.plan, material)) is not None:
        text.append(power.sentence())
    return Section("protocol", "Protocol", tuple(text), (table,))


def _shifted(shift: StudyShift) -> str:
    """At which size the shift is applied, and what of its images is left out."""
    size = (
        "at each image's own size, as another camera would give it"
        if shift.at == "native"
        else "after the resize to the model's size, so that blur and noise are as strong whatever the resolution"
    )
    dropped = " Images whose defect it moves out of the frame are left out of the test part." * shift.drop_vanished
    return (
        f"The shift is applied {size}. What it brings in from outside of an image is left out of every pixel metric, "
        f"and seen by the image scores.{dropped}"
    )
