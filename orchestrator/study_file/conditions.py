"""The conditions of a run beside its regime, and which of them a study asks for. Pure.

One axis moves at a time: a severity is run with all factors, a combination of factors at the base severity, and so
on, so that every curve has all else alike and a study grows by the sum of its axes, not by their product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from adloc.study_file.regimes import CLEAN, REGIMES, SHIFT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from adloc.study_file.regimes import Regime
    from adloc.study_file.spec import StudySpec

AXES = ("domain", "train_images", "draw", "contamination", "severity", "factors")
OF_THE_SHIFT = ("domain", "severity", "factors")  # runs of the clean domain have none
ALL: Literal["all"] = "all"


@dataclass(frozen=True, slots=True)
class Condition:
    """Under what a run is made; None where the study has no such axis, or it does not touch the run.

    Attributes:
        domain: what the regime reads "shift" as, where the study has real domains: a target, or "shift" when simulated.
        train_images: normal images of each category that are fitted on.
        draw: which choice of them.
        contamination: share of the images fitted on that are defects.
        severity: of the shift.
        factors: "geometry", "geometry+blur", "all".
    """

    domain: str | None = None
    train_images: int | Literal["all"] | None = None
    draw: int | None = None
    contamination: float | None = None
    severity: float | None = None
    factors: str | None = None

    def values(self) -> dict[str, JsonValue]:
        """What is set, by axis."""
        return {name: value for name in AXES if (value := getattr(self, name)) is not None}

    def of_the_shift(self) -> Condition:
        """Domain, severity and factors alone."""
        return Condition(domain=self.domain, severity=self.severity, factors=self.factors)


def base_condition(spec: StudySpec, regime: Regime, domain: str | None = None) -> Condition:
    """What the main tables compare: severity 1, all factors and images, the least contamination, where declared.

    Args:
        spec: the study.
        regime: whose runs are meant.
        domain: what it reads "shift" as; None for the study's first.
    """
    train, counts = spec.train, spec.train.image_counts
    many: int | Literal["all"] = ALL if ALL in counts else max(n for n in counts if n != ALL)
    base = Condition(
        train_images=many if isinstance(train.images, tuple) or spec.learning_curve else None,
        draw=0 if spec.learning_curve else None,
        contamination=min(train.contaminations) if isinstance(train.contamination, tuple) else None,
    )
    return _shifted(base, spec, domain or spec.shift.domains[0]) if REGIMES[regime].evaluation == SHIFT else base


def _shifted(base: Condition, spec: StudySpec, domain: str) -> Condition:
    """The same of a regime that is evaluated under the shift, in this domain."""
    base = replace(base, domain=domain) if has_real_domains(spec) else base
    transforms = spec.shift.transforms if domain == SHIFT else None
    if transforms is None:
        return base
    severity = transforms.base_severity if isinstance(transforms.severity, tuple) else None
    return replace(base, severity=severity, factors=ALL if transforms.factors else None)


def has_real_domains(spec: StudySpec) -> bool:
    """Whether runs of the study are told apart by the domain that they are evaluated in."""
    return spec.shift.domains != (SHIFT,)


def conditions(spec: StudySpec, regime: Regime, n_train: int, least: int = 1) -> tuple[Condition, ...]:
    """Every condition of a regime, the base first.

    Args:
        spec: the study.
        regime: the first one alone has the learning curve.
        n_train: of the category with the fewest; learning curves end below it.
        least: images without which the method has no fit; learning curves begin there.
    """
    base = base_condition(spec, regime)
    found = [base]
    if spec.learning_curve and regime == spec.regimes[0]:
        for n in dict.fromkeys(spec.learning_curve.train_images):
            if n != ALL and least <= n < n_train:
                found += [replace(base, train_images=n, draw=d) for d in range(spec.learning_curve.draws)]
    if isinstance(spec.train.images, tuple):
        found += [replace(base, train_images=n) for n in spec.train.image_counts]
    if base.contamination is not None:
        found += [replace(base, contamination=c) for c in spec.train.contaminations]
    found += [base_condition(spec, regime, domain) for domain in spec.shift.domains]
    if (transforms := spec.shift.transforms) is not None:
        simulated = base_condition(spec, regime, SHIFT)
        if simulated.severity is not None:
            found += [replace(simulated, severity=s) for s in transforms.severities]
        if simulated.factors is not None:
            found += [replace(simulated, factors=f) for f in transforms.combinations]
    return tuple(dict.fromkeys(found))


def is_base(values: Mapping[str, object], spec: StudySpec, regime: Regime, domain: str | None = None) -> bool:
    """Whether a row or a record is of the base condition (see `base_condition`); one without a condition is."""
    return agrees(values, base_condition(spec, regime, domain).values())


def agrees(values: Mapping[str, object], asked: Mapping[str, object]) -> bool:
    """Whether a row or a record is of the condition with these values; one without a condition is of every one."""
    return all([values.get(name) in (None, value) for name, value in asked.items()])  # noqa: C419  few: quicker


def described(values: Mapping[str, object]) -> Iterator[str]:
    """ "severity 0.5", for the name of a run; of the source's images, clean or simulated, the regime says enough."""
    for name in AXES:
        value = values.get(name)
        if value is not None and not (name == "domain" and value in (CLEAN, SHIFT)):
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
