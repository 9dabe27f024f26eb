"""A contact sheet of a study's images: normal and defective, clean and shifted, with their masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.sheet import SheetRow, contact_sheet
from adloc.datasets.split import twin_name
from adloc.planning.parts import read_in_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from adloc.datasets.sample import Picture, Sample
    from adloc.planning.parts import Parts
    from adloc.planning.plan import Plan


def preview_sheet(plan: Plan, n_images: int) -> Image:
    """For each category: a row of clean images and, under it, the same images of each domain that it shifts to.

    A real domain shows its images of the same names, and others of its own where it has none.
    """
    transforms = plan.spec.shift.transforms
    rows = []
    for category, parts in plan.parts.items():
        chosen = _mix(parts, n_images)
        rows.append(_row(f"{category}\nclean", chosen, [s.source.read() for s in chosen]))
        for domain, by_category in plan.targets.items():
            found = _twins(chosen, by_category[category]) or _mix(by_category[category], n_images)
            rows.append(_row(f"{category}\n{domain}", found, [s.source.read() for s in found]))
        if transforms is not None:
            shifted = [read_in_domain(s, transforms.plain(), plan.spec.image) for s in chosen]
            rows.append(_row(f"{category}\nshifted", chosen, shifted))
    return contact_sheet(rows, title=plan.spec.study)


def _row(label: str, samples: Sequence[Sample], pictures: Sequence[Picture]) -> SheetRow:
    names = tuple(f"{s.defect}/{s.name.rsplit('/', 1)[-1]}" for s in samples)
    return SheetRow(label, tuple(pictures), names)


def _twins(samples: Sequence[Sample], parts: Parts) -> list[Sample]:
    """The images of the same names, where the domain has them."""
    there = {twin_name(s): s for part in (parts.train, parts.validation, parts.test) for s in part.samples}
    return [there[twin_name(s)] for s in samples if twin_name(s) in there]


def _mix(parts: Parts, n_images: int) -> list[Sample]:
    """A normal image of each part, then one image of every defect type in turn."""
    normal = [next((s for s in p.samples if not s.label), None) for p in (parts.train, parts.test)]
    by_type: dict[str, list[Sample]] = {}
    for sample in (*parts.test.samples, *parts.validation.samples):
        if sample.label:
            by_type.setdefault(sample.defect, []).append(sample)
    chosen = [s for s in normal if s is not None]
    depth = max((len(samples) for samples in by_type.values()), default=0)
    chosen += [samples[i] for i in range(depth) for samples in by_type.values() if i < len(samples)]
    return chosen[:n_images]
