"""What the calibrated thresholds promise about false alarms, beside what the test part shows, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES
from adloc.answer.operating import PER_PARTS
from adloc.study_file.regimes import is_promised
from adloc.thresholds import NEEDS_DEFECTS, promise_of
from adloc.uncertainty.order_statistics import CONFIDENCE, Promise, expected_bound, upper_bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.planning.plan import Plan
    from adloc.thresholds import ThresholdConfig

NOT_EXCHANGEABLE = (
    "nothing is promised: the threshold is carried over from another domain, whose images are not exchangeable "
    "with these"
)


def promised(finding: Finding, config: ThresholdConfig) -> Promise | None:
    """What the finding's threshold promises; None without one, or where no promise holds.

    Of an earlier version's record it is made of images.csv, unless the threshold is one for all categories, whose
    other images are not in it.

    Args:
        finding: a run that is done.
        config: how its threshold was calibrated.
    """
    record, validation = finding.record, finding.images.get("validation")
    if record.threshold is None or validation is None or not is_promised(record.regime):
        return None
    normal = validation.scores[~validation.labels]
    expected, upper = (record.metrics.get(name) for name in ("expected_fpr", "upper_fpr"))
    if record.threshold_scope == "global":
        chosen = config.objective in NEEDS_DEFECTS
        return None if expected is None or upper is None else Promise(expected, upper, CONFIDENCE, 0, chosen)
    return promise_of(normal.size, int((normal >= record.threshold).sum()), config) if normal.size else None


def promise_lines(material: Material) -> list[str]:
    """For each lead the weakest promise of all its thresholds and what the others range over; then where none holds."""
    found = [line for lead in material.leads for line in _weakest(material, lead)]
    return [*found, *_not_promised(material)]


def small_part_warnings(plan: Plan) -> list[str]:
    """Where `normal_quantile` is asked for a rate that no threshold on so few normal images can hold."""
    config = plan.spec.thresholds
    if config.objective != "normal_quantile":
        return []
    found: dict[int, dict[str, None]] = {}
    for run in plan.runs:
        if run.threshold is not None:
            n = sum(sample.label == 0 for part in run.threshold.parts for sample in part.samples)
            if n and expected_bound(n, 0) > config.fpr:
                found.setdefault(n, {}).update(dict.fromkeys(part.category for part in run.threshold.parts))
    return [
        f"{', '.join(categories)}: {n} normal validation image{'s' * (n != 1)} cannot promise {_percent(config.fpr)}: "
        f"expected at most {_percent(expected_bound(n, 0))}, up to {_percent(upper_bound(n, 0))} at 95 %"
        for n, categories in found.items()
    ]


def _weakest(material: Material, lead: Setting) -> Iterator[str]:
    made = [(p, f) for f in _findings(material, lead) if (p := promised(f, material.plan.spec.thresholds))]
    if not made:
        return
    promise, finding = max(made, key=lambda each: (each[0].upper, each[0].expected))
    record = finding.record
    n_normal = f"{promise.n_normal}" if promise.n_normal else "all categories'"
    yield (
        f"{record.category} {lead.label} {REGIME_TITLES[record.regime]}: of {PER_PARTS:,} good parts at most "
        f"{_parts(promise.expected)} false alarms expected, up to {_parts(promise.upper)} (95 %), from {n_normal} "
        f"normal validation images; seen on the test part {_seen([finding])}"
        + _others([p.upper for p, f in made if f is not finding])
    )


def _others(upper: Sequence[float]) -> str:
    """What the bounds of the lead's other thresholds range over."""
    if not upper:
        return ""
    low, high = _parts(min(upper)), _parts(max(upper))
    which = f"the other {len(upper)} thresholds" if len(upper) > 1 else "the other threshold"
    return f"; up to {low if low == high else f'{low} to {high}'} at {which} of this setting"


def _not_promised(material: Material) -> Iterator[str]:
    """Once for all leads, with what each flags of the normal test images."""
    for regime in material.regimes:
        rows = {s.label: [f for f in _findings(material, s) if f.record.regime == regime] for s in material.leads}
        seen = [f"{label} {_seen(row)}" for label, row in rows.items() if row]
        if seen and not is_promised(regime):
            yield f"{REGIME_TITLES[regime]}: {NOT_EXCHANGEABLE}; seen on the test part: {', '.join(seen)}"


def _findings(material: Material, lead: Setting) -> list[Finding]:
    """The first repeat's runs of a lead that have a threshold."""
    found = (material.get(lead, regime, c) for regime in material.regimes for c in material.categories)
    return [f for f in found if f is not None and f.record.threshold is not None]


def _seen(findings: Sequence[Finding]) -> str:
    """Normal test images at or above the thresholds, of how many: "3 of 20"."""
    normal = [(f.test.scores[~f.test.labels], float(f.record.threshold or 0)) for f in findings]
    return f"{sum(int((s >= threshold).sum()) for s, threshold in normal)} of {sum(s.size for s, _ in normal)}"


def _parts(share: float) -> str:
    return f"{round(PER_PARTS * share):,}"


def _percent(share: float) -> str:
    """To two digits: 1 %, 7.7 %, 22 %."""
    return f"{float(f'{100 * share:.2g}'):g} %"
