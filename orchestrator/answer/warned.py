"""Settings whose scoring ranks the validation part clearly worse than plain distances: what runs say of themselves.

From validation figures alone; the test part neither raises nor silences a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.claim import Claim
from adloc.record.diagnosed import by_parameter, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.finding import Finding
    from adloc.answer.material import Material
    from adloc.record.diagnosed import PlainComparison


def find_warnings(material: Material) -> Iterator[Claim]:
    """One for each method and value of a parameter, with the figures of the worst category or setting."""
    margin = material.plan.spec.comparison.margin
    compared: dict[tuple[str, str], dict[str, tuple[Finding, list[PlainComparison]]]] = {}
    for finding in material.findings:
        for of_one in by_parameter(finding.record.diagnosis):
            seen = compared.setdefault((finding.setting.method, of_one[0].setting), {})
            # Regimes that share a validation part share the comparison: it counts once.
            seen.setdefault(finding.record.stages.get("diagnosis", finding.record.run_id), (finding, of_one))
    for (method, _), seen in compared.items():
        worse = [(f, of_one) for f, of_one in seen.values() if any(c.is_worse(margin) for c in of_one)]
        if not worse:
            continue
        finding, worst = max(worse, key=lambda each: max(c.low for c in each[1]))
        settings = tuple(dict.fromkeys(f.setting.label for f, _ in worse))
        text = f"{method}: {warning(worst, margin, finding.record.category)}"
        if len(seen) > 1:
            text += f" So it is in {len(worse)} of {len(seen)} validation rankings"
            text += ", in none worse than here." if len(worse) > 1 else "."
        if material.chosen is not None and material.chosen.label in settings:
            text += " The chosen setting is one of those."
        yield Claim("warning", settings, text)
