"""A contact sheet of a study's images: normal and defective, clean and shifted, with their masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.datasets.sheet import SheetRow, contact_sheet
from adloc.parts import read_in_domain

if TYPE_CHECKING:
    from PIL.Image import Image

    from adloc.datasets.sample import Sample
    from adloc.parts import Parts
    from adloc.plan import Plan


def preview_sheet(plan: Plan, n_images: int) -> Image:
    """For each category: a row of clean images and, under it, the same images in the shift domain."""
    rows = []
    for category, parts in plan.parts.items():
        chosen = _mix(parts, n_images)
        labels = tuple(f"{s.defect}/{s.name.rsplit('/', 1)[-1]}" for s in chosen)
        clean = tuple(s.source.read() for s in chosen)
        shifted = tuple(read_in_domain(s, plan.spec.shift.plain(), plan.spec.image) for s in chosen)
        rows += [
            SheetRow(f"{category}\nclean", clean, labels),
            SheetRow(f"{category}\nshifted", shifted, labels),
        ]
    return contact_sheet(rows, title=plan.spec.study)


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
