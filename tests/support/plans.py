"""Plans of made-up images: nothing is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adloc.datasets.sample import Fingerprint, Sample
from adloc.planning.inventory import Inventory
from adloc.planning.plan import Plan, make_plan
from adloc.study_file.spec import StudySpec
from handmade import Nowhere

if TYPE_CHECKING:
    from collections.abc import Sequence


def inventory(categories: Sequence[str], seeds: Sequence[int] = (42, 43, 44), n_train: int = 20) -> Inventory:
    """A dataset of made-up images: 20 train, 4 good and 10 + 10 anomalous test images a category."""
    samples = []
    for category in categories:
        names = [("train", "good", i) for i in range(n_train)]
        names += [("test", defect, i) for defect, n in (("good", 4), ("cut", 10), ("dent", 10)) for i in range(n)]
        samples += [
            Sample(category, f"{origin}/{defect}/{i:03d}.png", origin, defect, Nowhere()) for origin, defect, i in names
        ]
    prints = {s.identity: Fingerprint(f"sha-{s.identity}", f"mask-{s.identity}" * s.label, 64, 64) for s in samples}
    weights = {(b, w, s): f"{b}-{w}" for b in ("resnet18", "resnet50") for w in ("default", "random") for s in seeds}
    return Inventory(samples, prints, weights)


def spec_of(**study: Any) -> StudySpec:
    """A PatchCore study."""
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18"}}
    return StudySpec.model_validate({"study": "s", "dataset": {"kind": "textures"}, "methods": [patchcore], **study})


def plan_of(categories: Sequence[str] = ("a", "b"), **study: Any) -> Plan:
    """The plan of a PatchCore study over these categories."""
    return make_plan(spec_of(**study), inventory(categories))


def plan_of_grid(grid: dict[str, list[Any]]) -> Plan:
    """The plan of PatchCore over a grid, on one category."""
    names = [("train", "good", i) for i in range(10)]
    names += [("test", defect, i) for defect in ("good", "cut") for i in range(10)]
    samples = [Sample("a", f"{origin}/{d}/{i:03d}.png", origin, d, Nowhere()) for origin, d, i in names]
    prints = {s.identity: Fingerprint(f"sha-{s.identity}", f"mask-{s.identity}" * s.label, 64, 64) for s in samples}
    entry = {"method": "patchcore", "params": {"backbone": "resnet18", "reweight": "none"}, "grid": grid}
    spec = StudySpec.model_validate({"study": "s", "dataset": {"kind": "textures"}, "methods": [entry]})
    return make_plan(spec, Inventory(samples, prints, {("resnet18", "default", 42): "r18"}))
