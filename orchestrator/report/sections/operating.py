"""False alarms and misses as the line sees them: what is promised, what is seen, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES
from adloc.answer.operating import PER_PARTS, abstain_band, error_rates, on_the_line
from adloc.answer.promises import NOT_EXCHANGEABLE, promised
from adloc.report.section import Section
from adloc.report.tables import Table, figure, significant, words
from adloc.thresholds import NEEDS_DEFECTS, just_above_rank, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Finding
    from adloc.answer.material import Material
    from adloc.answer.operating import Estimate
    from adloc.report.tables import Cell
    from adloc.study_file.operating import OperatingConfig

FIXED_RATES = (0.01, 0.05)
WHO = ("category", "setting", "regime")


def operating(material: Material) -> Section | None:
    """Every lead in every regime at its threshold; none where no threshold was calibrated."""
    found = [(f, setting.label) for setting, regime in material.lines(material.leads) for c in material.categories
             if (f := material.get(setting, regime, c)) and f.record.threshold is not None]  # fmt: skip
    if not found:
        return None
    rates, config = material.plan.spec.operating, material.plan.spec.thresholds
    tables = [_errors([(*_who(f, label), *_seen(f), *_promise(f, material)) for f, label in found])]
    text = [
        f"Of {PER_PARTS:,} good parts so many are flagged, and of {PER_PARTS:,} defective ones so many pass: seen on "
        "the test part with exact 95 % intervals, and promised by the normal validation images before any test "
        "image was looked at. "
        + (
            "The threshold was chosen with the validation scores in view, so the bounds hold for every rank that "
            "could have been chosen, at once: a threshold from normal images alone promises more."
            if config.objective in NEEDS_DEFECTS
            else "How many normal validation images may be flagged was fixed beforehand."
        )
    ]
    if rates is not None:
        made = [(*_who(f, label), *_line(f, rates)) for f, label in found]
        heads = (*WHO, "false rejects a shift", "escapes a shift", "precision", "cost a shift")
        tables.append(Table("operating", "On the line, at the stated rates and costs", heads, tuple(made), WHO))
        points = [(*_who(f, label), *cells) for f, label in found for cells in _fixed(f, rates)]
        columns = (*WHO, "threshold from the validation part", "threshold", "recall", "false-alarm rate",
                 "a person looks at, %")  # fmt: skip
        caption = "Recall at a fixed rate of false alarms, the reverse, and a band for a person to look at"
        tables.append(Table("operating_points", caption, columns, tuple(points), WHO, long=True))
        text.append(
            f"A shift is {rates.parts_per_shift:,} parts, of which {rates.prevalence:.3g} are defective; a miss costs "
            f"{rates.cost_miss:g}, a false alarm {rates.cost_false_alarm:g}."
        )
    notes = (
        f"Under no adaptation {NOT_EXCHANGEABLE}. Intervals: Clopper and Pearson; those of precision and cost "
        "combine two of 97.5 %. They are of the test images, with the threshold held fixed.",
    )
    return Section("operating", "At your rates", tuple(text), tuple(tables), notes=notes)


def _errors(rows: list[tuple[Cell, ...]]) -> Table:
    heads = (*WHO, "threshold", "false alarms seen", "misses seen", "false alarms expected, at most",
             "false alarms, 95 % bound")  # fmt: skip
    caption = f"False alarms of {PER_PARTS:,} good parts and misses of {PER_PARTS:,} defective ones"
    return Table("error_counts", caption, heads, tuple(rows), WHO)


def _who(finding: Finding, label: str) -> tuple[Cell, ...]:
    record = finding.record
    return words(record.category), words(label), words(REGIME_TITLES[record.regime])


def _seen(finding: Finding) -> tuple[Cell, ...]:
    threshold = finding.record.threshold
    rates = error_rates(finding.test.scores, finding.test.labels, float(threshold or 0))
    return (significant(threshold), *(_estimate(e.scaled(PER_PARTS), 0) for e in (rates.false_alarms, rates.misses)))


def _promise(finding: Finding, material: Material) -> tuple[Cell, Cell]:
    made = promised(finding, material.plan.spec.thresholds)
    if made is None:
        return words(""), words("")
    return figure(PER_PARTS * made.expected, 0), figure(PER_PARTS * made.upper, 0)


def _line(finding: Finding, rates: OperatingConfig) -> tuple[Cell, ...]:
    found = on_the_line(finding.test.scores, finding.test.labels, float(finding.record.threshold or 0), rates)
    return (_estimate(found.false_rejects, 1), _estimate(found.escapes, 2), _estimate(found.precision, 3),
            _estimate(found.cost, 1))  # fmt: skip


def _fixed(finding: Finding, rates: OperatingConfig) -> Iterator[tuple[Cell, ...]]:
    """Operating points whose thresholds are of the validation part alone."""
    validation, test = finding.images.get("validation"), finding.test
    if validation is None:
        return
    normal, anomalous = validation.scores[~validation.labels], validation.scores[validation.labels]
    points: list[tuple[str, float]] = []
    if normal.size:
        points += [(f"flags {rate:.0%} of the normal images", normal_quantile(normal, rate)) for rate in FIXED_RATES]
    if anomalous.size:
        points += [("finds every defect", float(anomalous.min()))]
    for name, threshold in points:
        found = error_rates(test.scores, test.labels, threshold)
        yield (words(name), significant(threshold), _recall(found.misses), _estimate(found.false_alarms, 3), words(""))
    if not normal.size or not anomalous.size:
        return
    low, high = float(anomalous.min()), just_above_rank(normal, 0)
    band = abstain_band(test.scores, test.labels, low, high, rates.prevalence)
    if band is not None:
        yield (
            words(f"band {low:.3g} to {high:.3g}"), words(""), _recall(band.misses), _estimate(band.false_alarms, 3),
            figure(100 * band.looked_at, 1),
        )  # fmt: skip


def _recall(misses: Estimate) -> Cell:
    interval = type(misses.interval)(1 - misses.interval.high, 1 - misses.interval.low)
    return figure(1 - misses.value, 3, interval)


def _estimate(found: Estimate, digits: int) -> Cell:
    return figure(found.value, digits, found.interval)
