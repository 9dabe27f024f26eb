"""How many images each part of a study has, and what of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from adloc.datasets.split import counts
from adloc.study_file.regimes import CLEAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.datasets.sample import Sample
    from adloc.planning.plan import Plan


def part_counts(plan: Plan) -> list[dict[str, object]]:
    """A row for each category, domain and part: images, normal and anomalous ones, defects by type, and more."""
    rows: list[dict[str, object]] = []
    for category, clean in plan.parts.items():
        domains = {CLEAN: clean, **{name: parts[category] for name, parts in plan.targets.items()}}
        for domain, parts in domains.items():
            rows += [
                {"category": category, "domain": domain, "part": name, **_part_count(getattr(parts, name).samples)}
                for name in ("train", "validation", "test")
            ]
    return rows


def _part_count(samples: Sequence[Sample]) -> dict[str, object]:
    by_type = counts(samples)
    n_normal = by_type.pop("good", 0)
    return {
        "images": len(samples), "normal": n_normal, "anomalous": len(samples) - n_normal, "defects": by_type,
        "without mask": sum(not sample.mask_known for sample in samples),
        "groups": len({sample.group for sample in samples} - {None}),
        "domains": dict(Counter(sample.domain for sample in samples if sample.domain)),
    }  # fmt: skip
