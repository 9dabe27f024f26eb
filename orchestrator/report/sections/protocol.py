"""Which images each part holds, and what was fitted, calibrated and tested on what."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

from adloc.answer.power import study_power
from adloc.report.section import OBJECTIVES, Section
from adloc.report.tables import Table, count, words
from adloc.study_file.regimes import CLEAN

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
    domains = {CLEAN: material.plan.parts, **material.plan.targets}
    several = len(domains) > 1
    for category, domain in product(material.plan.parts, domains):
        parts = domains[domain][category]
        for title, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            kinds = Counter(s.defect for s in part.samples if s.label)
            n_anomalous = sum(kinds.values())
            listed = ", ".join(f"{name} {n}" for name, n in sorted(kinds.items()))
            where = (words(category), words(domain)) if several else (words(category),)
            rows.append(
                (*where, words(title), count(len(part)), count(len(part) - n_anomalous), count(n_anomalous),
                 words(listed))
            )  # fmt: skip
    where_heads = ("category", "domain") if several else ("category",)
    heads = (*where_heads, "part", "images", "normal", "anomalous", "defect types")
    caption = f"Images of each part; no image is in two parts{' of a domain' if several else ''}"
    table = Table("protocol", caption, heads, tuple(rows), long=len(rows) > MOST_ROWS)
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
    if any(r != "clean" for r in material.regimes):
        text.append(_shifted(material))
    text.append(" ".join(sealed))
    if (power := study_power(material.plan, material)) is not None:
        text.append(power.sentence())
    return Section("protocol", "Protocol", tuple(text), (table,))


def _shifted(material: Material) -> str:
    """What the regimes are run in, and what each of them is."""
    real, transforms = ", ".join(material.plan.targets), material.plan.spec.shift.transforms
    told = [f"Domains of real images: {real}; their parts are divided as the source's."] if real else []
    if transforms is not None:
        told.append(
            f"The shifted domain ({transforms.preset}, severity {transforms.base_severity:g}, seed {transforms.seed}) "
            f"changes every image once, the same way in every run. {_applied(transforms)}"
        )
    of = "a domain's" if real else "shifted"
    told.append(
        f"Regimes: clean; no adaptation (model and threshold from clean images, tested on {of} ones); threshold only "
        f"(threshold calibrated again on {of} validation images); full adaptation (fitted on {of} images as well)."
    )
    if len(material.domains) > 1:
        told.append(
            f"Verdicts, robustness and the tables for a paper are of every domain; all other sections show the shifted "
            f"regimes of {material.shifted} alone."
        )
    return " ".join(told)


def _applied(shift: StudyShift) -> str:
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
