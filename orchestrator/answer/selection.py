"""What is to be expected of the setting that a method's validation part chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adloc.uncertainty.resampling import seed_of
from adloc.uncertainty.selection import Scored, Selection, resample_choice

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.uncertainty.resampling import Interval

Kind = tuple[str, str, str]  # method, scope, kind of threshold


def _kind_of(setting: Setting) -> Kind:
    """Among whose settings one is chosen."""
    return setting.method, setting.scope, setting.threshold_scope


def choice_interval(material: Material) -> Interval | None:
    """Of the chosen setting's test AUROC, with the choice among its method's settings counted in.

    None without a choice, over repeats, and where another setting is as good on the validation part.
    """
    chosen = material.chosen
    if chosen is None or material.plan.spec.repeats > 1:
        return None
    if sum(_kind_of(s) == _kind_of(chosen) for s in material.settings) < 2:  # noqa: PLR2004  nothing to choose among
        return None
    found = chosen_interval(material, _kind_of(chosen))
    return None if found is None or found[0] is not chosen else found[1].interval  # equal: the smaller model was chosen


def chosen_interval(material: Material, kind: Kind) -> tuple[Setting, Selection] | None:
    """The setting of this kind that the validation part chooses in the first regime, and what that choice is worth.

    Only settings that every category has take part; of equals the first in the study file is chosen.

    Returns:
        None where no setting was validated on normal and anomalous images, or their images differ.
    """
    for regime in material.regimes[:1]:
        rows = {s: row for s in material.settings if _kind_of(s) == kind and (row := material.row(s, regime))}
        if not rows:
            return None
        parts = {}
        for name in ("validation", "test"):
            found = [_scored([row[c] for row in rows.values()], name) for c in material.plan.parts]
            whole = [part for part in found if part is not None]
            if len(whole) < len(found):
                return None
            parts[name] = whole
        first = next(iter(rows.values()))
        seed = seed_of(material.plan.spec.seed, [n for f in first.values() for n in f.test.names]) % 2**32
        selection = resample_choice(parts["validation"], parts["test"], seed)
        return None if selection is None else (list(rows)[selection.chosen], selection)
    return None


def _scored(findings: list[Finding], part: str) -> Scored | None:
    """One category's part with every setting's scores; None where settings saw other images."""
    images = [f.images.get(part) for f in findings]
    first = images[0]
    if first is None or any(i is None or i.names != first.names for i in images):
        return None
    return Scored(np.stack([i.scores for i in images if i is not None]), first.labels)
