"""Suspicious training images, and why defects are missed: from the explanations of the leads' runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.explain.boundary import runs_to_explain
from adloc.explain.recall import recall_by
from adloc.explain.suspicious import OUTSTANDING
from adloc.report.charts.figure import Figure, safe
from adloc.report.charts.lines import Axis, Estimate, interval_chart
from adloc.report.gallery import strip_uri
from adloc.report.section import Picture, Section
from adloc.report.tables import Table, count, figure, significant, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.explain.explanation import Explanation, Explanations
    from adloc.explain.recall import Property
    from adloc.report.strips import Strips
    from adloc.report.tables import Cell

_UNITS: dict[Property, tuple[str, float]] = {"size": ("% of the image", 100.0), "contrast": ("contrast", 1.0)}
_NAMED = 3  # images in a sentence
_RANK = (
    "Each training image is scored by the model without its own share: the memory bank without its own entries, or the "
    "Gaussians fitted to the others. This is a rank and no verdict: an image stands out because it is defective, "
    "mislabelled, badly lit, or only rare. Robust z: distance from the median of all training images, by the median "
    f"absolute deviation; from {OUTSTANDING:g} on an image is said to stand out. Training and validation images are "
    "judged here, no test image is."
)
_THIRDS = (
    "Thirds of all defects of the categories together. Size: share of the image's pixels in the mask. Contrast: the "
    "difference between the mean grey level inside the mask and in a ring around it (a 32nd of the image's shorter "
    "side wide, at least 2 pixels), in standard deviations of the ring, these at least one grey level. Both at the "
    "evaluation size. Intervals: Clopper and Pearson, 95 %; test images tell, nothing is chosen by them."
)
_MOVED = (
    "Masks eroded (negative) and dilated by a disk of so many pixels at the evaluation size, the maps left as they "
    "are. A difference in PRO between two methods that is no larger than these could be the annotator's hand. A region "
    "eroded to nothing counts no more, and its pixels count as normal ones."
)


def suspicious(material: Material, explanations: Explanations, strips: Strips) -> Section | None:
    """Training images far from the others; none where nothing was explained."""
    found = [(s, e) for s, e in _explained(material, explanations) if e.training.n_images or e.training.reason]
    if not found:
        return None
    rows: list[tuple[Cell, ...]] = []
    pictures: list[tuple[float, Picture]] = []
    for setting, each in found:
        folder = explanations.path(each.run_id)
        for place, image in enumerate(each.training.images):
            category, _, name = image.name.partition("/")
            rows.append(
                (words(category), words(setting.label), count(place + 1), words(name),
                 significant(image.score), figure(image.robust_z, 1, signed=True), figure(image.share_above, 2),
                 words("a defect, by the study" if image.defect else ""))
            )  # fmt: skip
            z = image.robust_z or 0.0
            if image.picture and (z >= OUTSTANDING or place == 0):
                of = f"number {place + 1} of {each.training.n_images} for {setting.label}"
                said = f"{image.name}: {of}, robust z {z:.1f}"
                pictures += [(z, picture) for picture in _picture(strips, folder / image.picture, said)]
    pictures.sort(key=lambda pair: -pair[0])
    heads = ("category", "setting", "rank", "image", "leave-one-out score", "robust z",
             "validation normals above", "known")  # fmt: skip
    caption = "Training images furthest from the others, each scored by the model without it"
    table = Table("suspicious", caption, heads, tuple(rows), ("category", "setting"), long=True)
    text = (_outstanding(found), *_truth(found), *_reasons(found))
    most = material.plan.spec.explain.suspicious_images
    shown = tuple(picture for _, picture in pictures[:most])
    tables = (table,) if rows else ()
    return Section("suspicious", "Suspicious training images", text, tables, notes=(_RANK,), pictures=shown)


def why_missed(material: Material, explanations: Explanations, strips: Strips) -> Section | None:
    """Recall by size and contrast, missed defects beside what they resemble, and mask noise; none where not asked."""
    found = list(_explained(material, explanations))
    chosen = material.chosen or (material.leads[0] if material.leads else None)
    own = [each for setting, each in found if setting is chosen]
    tables: list[Table] = []
    text: list[str] = []
    notes: list[str] = []
    figures: list[Figure] = []
    pictures: tuple[Picture, ...] = ()
    if chosen is not None and any(each.defects for each in own):
        table, figures = _recall(chosen, own)
        tables += [table] if table.rows else []
        text += _said_of_misses(chosen, own)
        notes.append(_THIRDS)
        pictures = tuple(_pictures(material, own, explanations, strips))
    if any(each.mask_noise for _, each in found):
        tables.append(_noise(found))
        notes.append(_MOVED)
    if not text and not tables:
        return None
    return Section(
        "why-missed", "Why missed", tuple(text), tuple(tables), tuple(figures), tuple(notes), pictures=pictures
    )


def _explained(material: Material, explanations: Explanations) -> Iterator[tuple[Setting, Explanation]]:
    settings = {f.record.run_id: f.setting for f in material.findings}
    for run in runs_to_explain(material):
        known = explanations.get(run, material.plan.spec.explain)
        if known is not None:
            yield settings[run.run_id], known


def _outstanding(found: Sequence[tuple[Setting, Explanation]]) -> str:
    n_by_image: dict[str, int] = {}
    for _, each in found:
        for image in each.training.images:
            if (image.robust_z or 0.0) >= OUTSTANDING:
                n_by_image[image.name] = n_by_image.get(image.name, 0) + 1
    names = sorted(n_by_image, key=lambda name: -n_by_image[name])
    if not names:
        return "No training image stands out from the others: the ranks below are of ordinary images."
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    one = len(names) == 1
    return (
        f"{', '.join(names[:_NAMED])}{more} stand{'s' if one else ''} out from the other training images; look at "
        f"{'it' if one else 'them'} before trusting a threshold."
    )


def _truth(found: Sequence[tuple[Setting, Explanation]]) -> Iterator[str]:
    for setting, each in found:
        training = each.training
        if training.n_defects and training.defects_auroc is not None:
            yield (
                f"{setting.label}, {_category(each)}: {training.n_defects} of the {training.n_images} training images "
                f"are defects by the study's own doing; the score ranks them above the others with an AUROC of "
                f"{training.defects_auroc:.3f}."
            )


def _reasons(found: Sequence[tuple[Setting, Explanation]]) -> Iterator[str]:
    for setting, each in found:
        if each.training.reason:
            yield f"{setting.label}, {_category(each)}: {each.training.reason}."


def _category(each: Explanation) -> str:
    names = [image.name for image in each.training.images] + [defect.name for defect in each.defects]
    return names[0].partition("/")[0] if names else each.run_id


def _recall(chosen: Setting, own: Sequence[Explanation]) -> tuple[Table, list[Figure]]:
    defects = [defect for each in own for defect in each.defects]
    rows: list[tuple[Cell, ...]] = []
    figures = []
    for by, (unit, factor) in _UNITS.items():
        thirds = recall_by(defects, by)
        estimates = []
        for number, third in enumerate(thirds):
            span = f"{factor * third.low:.3g} to {factor * third.high:.3g}"
            rows.append(
                (words(by), words(third.word), words(f"{span} {unit if by == 'size' else ''}".strip()), count(third.n),
                 count(third.n_missed), figure(third.recall.value, 3, third.recall.interval))
            )  # fmt: skip
            label = f"{third.word}: {span} {unit if by == 'size' else ''}".strip() + f" (n = {third.n})"
            low, high = third.recall.interval.low, third.recall.interval.high
            estimates.append(Estimate(label, third.recall.value, low, high, number))
        if estimates:
            title = f"{chosen.label}: recall by {by} of the defect"
            axis = Axis("recall at the run's threshold, with 95 % interval", low=0, high=1)
            figures.append(Figure(safe(f"recall_by_{by}"), interval_chart(title, axis, estimates)))
    heads = ("defects by", "third", "range", "images", "missed", "recall")
    caption = f"{chosen.label}: recall at the calibrated threshold, by what the defects are like"
    return Table("recall_by", caption, heads, tuple(rows)), figures


def _said_of_misses(chosen: Setting, own: Sequence[Explanation]) -> Iterator[str]:
    defects = [defect for each in own for defect in each.defects]
    missed = [defect for defect in defects if defect.missed]
    if all(defect.missed is None for defect in defects):
        yield f"{chosen.label}: no threshold was calibrated, so nothing is missed or found."
        return
    parts = []
    for by in _UNITS:
        thirds = recall_by(defects, by)
        if len(thirds) > 1:
            first, last = thirds[0], thirds[-1]
            parts.append(
                f"{first.word} defects are found in {first.recall.value:.0%} of {first.n}, {last.word} ones in "
                f"{last.recall.value:.0%} of {last.n}"
            )
    yield f"{chosen.label} misses {len(missed)} of {len(defects)} defects: {'; '.join(parts) or 'none has a mask'}."
    vanished = [defect.name for defect in defects if defect.vanished]
    if vanished:
        yield f"No pixel of the mask is left at the evaluation size of {', '.join(vanished)}."
    meanings = list(dict.fromkeys(each.missed.meaning for each in own if each.missed.meaning))
    if meanings:
        yield (
            "Below, the missed defects furthest under their threshold: the highest-scoring patch inside the mask, and "
            f"the training patch that it is nearest to ({'; '.join(meanings)}). A defect is missed "
            "where these look alike."
        )
    yield from dict.fromkeys(
        f"{_category(each)}: {each.missed.reason}." for each in own if each.missed.reason and each.defects
    )


def _pictures(
    material: Material, own: Sequence[Explanation], explanations: Explanations, strips: Strips
) -> Iterator[Picture]:
    pairs = [(defect, each) for each in own for defect in each.missed.defects]
    pairs.sort(key=lambda pair: pair[0].margin)
    for defect, each in pairs[: material.plan.spec.explain.missed_defects]:
        said = (
            f"{defect.name}: {abs(defect.margin):.1f} standard deviations of the test scores below the threshold; "
            f"nearest to {defect.nearest}, at {defect.distance:.4g}"
        )
        yield from _picture(strips, explanations.path(each.run_id) / defect.picture, said)


def _picture(strips: Strips, path: Path, said: str) -> Iterator[Picture]:
    """The picture; none where it is damaged."""
    strip = strips.explaining(path)
    if strip is not None:
        yield Picture(strip_uri(strip), said)


def _noise(found: Sequence[tuple[Setting, Explanation]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for setting, each in found:
        for moved in each.mask_noise:
            lost = f"{moved.n_lost}: {', '.join(n.partition('/')[2] for n in moved.lost)}" if moved.n_lost else "0"
            rows.append(
                (words(_category(each)), words(setting.label), figure(moved.pixels, 0, signed=True),
                 figure(moved.pixel_auroc), figure(moved.pixel_aupro), figure(moved.pixel_aupro_005),
                 count(moved.n_regions), words(lost))
            )  # fmt: skip
    heads = ("category", "setting", "pixels", "pixel AUROC", "PRO", "PRO at 0.05", "regions", "regions lost")
    caption = "Pixel metrics against masks drawn larger and smaller"
    return Table("mask_noise", caption, heads, tuple(rows), ("category", "setting"))
