"""Where the figures come from, and the commands that make them again."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING

from adloc.answer.material import REGIME_TITLES
from adloc.errors import in_one_line
from adloc.report.section import Section
from adloc.report.tables import Table, words
from adloc.study import spec_yaml
from adloc.study_file.conditions import has_real_domains
from adloc.study_file.regimes import CLEAN, SHIFT

if TYPE_CHECKING:
    from adloc.answer.material import Material
    from adloc.study_file.reader import StudyFile


def provenance(material: Material) -> Section:
    """Versions, commit, device, seeds, digests, and how to repeat it."""
    spec = material.plan.spec
    shift = f"shift {spec.shift.transforms.seed}, " if spec.shift.transforms else ""
    facts: list[tuple[str, str]] = [
        ("seeds", f"split {spec.split.seed}, {shift}methods {spec.seed}; repeat i adds i"),
        ("runs", f"{len(material.findings) + len(material.conditioned)} done of {len(material.plan.runs)}"),
    ]
    started = sorted(r.started for r in material.records)
    if started:
        facts.append(("recorded", started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}"))
        facts.append(("run time", f"{sum(r.seconds for r in material.records):.1f} s over all recorded runs"))
    environments = Counter(tuple(r.environment.items()) for r in material.records)  # few, in the order of the records
    names = list(dict.fromkeys(name for environment in environments for name, _ in environment))
    for name in sorted(names, key=lambda n: (n not in ("adloc", "commit"), n)):
        values: Counter[str] = Counter()
        for environment, n in environments.items():
            values[dict(environment).get(name, "")] += n
        shown = "; ".join(f"{v or 'unknown'}" + (f" ({n} runs)" if len(values) > 1 else "") for v, n in values.items())
        facts.append((name.replace("_", " "), shown))
    facts += [(f"{c}, {part} digest", d) for c, part, d in _digests(material)]
    table = Table(
        "provenance", "What the figures were made with", ("fact", "value"),
        tuple((words(name), words(value)) for name, value in facts), long=True,
    )  # fmt: skip
    dataset = json.dumps(spec.dataset.model_dump(mode="json"))
    domains = f"Shift: {spec.shift.model_dump_json()}. " if has_real_domains(spec) else ""
    text = (
        f"Dataset: {dataset}. {domains}Results repeat to the last digit with the same images, weights, versions and "
        "seeds, except "
        "for times and memory. The study file below is complete, every default written out.",
    )
    return Section("provenance", "Provenance", text, (table,), kind="commands")


def commands(file: StudyFile) -> str:
    """What to type to make every figure of the report again: the file as it was given, with its overrides."""
    given = shlex.join([str(file.path), *(part for override in file.overrides for part in ("--set", override))])
    return f"adloc study run {given}\nadloc study report {given}\nadloc study results {given} --format csv"


def study_file(material: Material) -> str:
    """The study, resolved."""
    return spec_yaml(material.plan.spec)


def _digests(material: Material) -> list[tuple[str, str, str]]:
    """(category, part and domain, digest) of every part that a first repeat used."""
    found: dict[tuple[str, str, str, str], str] = {}
    for record in material.records:
        if record.repeat == 0:
            for part, digest in record.datasets.items():
                found.setdefault((record.category, part, record.regime, record.domain), digest)
    distinct: dict[tuple[str, str, str], str] = {}
    for (category, part, regime, domain), digest in found.items():
        where = regime if domain in (CLEAN, SHIFT) else f"{regime}, {domain}"
        distinct.setdefault((category, part, digest), f"{part} ({where})")
    return [(category, part, digest) for (category, _, digest), part in distinct.items()]


def failures(material: Material) -> Section | None:
    """Runs that failed, with the reason."""
    failed = [r for r in material.records if r.status == "failed"]
    if not failed:
        return None
    rows = tuple(
        (
            words(r.run_id),
            words(REGIME_TITLES[r.regime]),
            words(in_one_line(r.error or ""), "bad"),
        )
        for r in failed
    )
    table = Table("failures", "Runs that failed, with the reason", ("run", "regime", "reason"), rows)
    return Section("failures", "Failed runs", (), (table,))
