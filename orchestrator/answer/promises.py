"""What the calibrated thresholds promise about false alarms, beside what the test part shows, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES
from adloc.answer.operating import PER_PARTS
from adloc.regimes import is_promised
from adloc.thresholds import NEEDS_DEFECTS, promise_of
from adloc.uncertainty.order_statistics import CONFIDENCE, Promise, expected_bound, upper_bound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adloc.answer.finding import Finding
    from adloc.answer.material import Material
    from adloc.plan import Plan
    from adloc.thresholds import ThresholdConfig

MOST_LINES = 4  # categories with a line each; with more, their average has one
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
    """A sentence for each lead in each regime: of each category, or of all where there are many."""
    found = []
    for setting, regime in material.lines(material.leads):
        row = material.row(setting, regime)
        groups = [[f] for f in row.values()] if len(row) <= MOST_LINES else [list(row.values())]
        found += [line for group in groups for line in _line(group, setting.label, regime, material)]
    return found


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


def _line(group: Sequence[Finding], label: str, regime: str, material: Material) -> Iterator[str]:
    if any(f.record.threshold is None for f in group):
        return
    what = group[0].record.category if len(group) == 1 else f"{len(group)} categories"
    flagged = sum(_n_flagged(f) for f in group)
    seen = f"seen on the test part {flagged} of {sum(int((~f.test.labels).sum()) for f in group)}"
    head = f"{what} {label} {REGIME_TITLES[regime]}"
    if not is_promised(regime):
        yield f"{head}: {NOT_EXCHANGEABLE}; {seen}"
        return
    made = [p for f in group if (p := promised(f, material.plan.spec.thresholds))]
    if len(made) < len(group):
        return
    expected, upper = sum(p.expected for p in made) / len(made), max(p.upper for p in made)
    of_one = "" if len(group) == 1 else " in any one category"
    yield (
        f"{head}: of {PER_PARTS:,} good parts at most {_parts(expected)} false alarms expected, up to "
        f"{_parts(upper)}{of_one} (95 %), from {_n_normal(group, made)} normal validation images; {seen}"
    )


def _n_flagged(finding: Finding) -> int:
    """Normal test images at or above the threshold."""
    normal = finding.test.scores[~finding.test.labels]
    return sum(score >= float(finding.record.threshold or 0) for score in normal.tolist())


def _n_normal(group: Sequence[Finding], made: Sequence[Promise]) -> str:
    """How many each promise rests on: "12", or "12 to 56"."""
    known = sorted({p.n_normal for p in made if p.n_normal})
    if group[0].record.threshold_scope == "global" or not known:
        return "all categories'"
    return f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _parts(share: float) -> str:
    return f"{round(PER_PARTS * share):,}"


def _percent(share: float) -> str:
    """To two digits: 1 %, 7.7 %, 22 %."""
    return f"{float(f'{100 * share:.2g}'):g} %"
