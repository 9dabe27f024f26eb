"""How many runs a study asks for, by arithmetic: known before a grid of a million combinations is multiplied out."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.errors import UserError
from adloc.keys import content_key
from adloc.study_file.conditions import conditions

if TYPE_CHECKING:
    from adloc.errors import Complaint
    from adloc.study_file.reader import StudyFile
    from adloc.study_file.spec import MethodEntry, StudySpec


@dataclass(frozen=True, slots=True)
class StudySize:
    """What a study comes to.

    Attributes:
        n_variants: combinations of all grids, those that are tuned twice: as they are and tuned.
        n_runs: every variant under every regime, scope, threshold, condition and repeat, in every category. A run that
            turns out to have no images is counted too, and only one member of a Pareto set is.
    """

    n_variants: int
    n_runs: int


def size_of(spec: StudySpec, n_categories: int) -> StudySize:
    """The size of a study, without making one variant of it.

    Args:
        spec: the study.
        n_categories: of its dataset.
    """
    n_variants = sum(n_combinations(entry) * (2 if entry.tune else 1) for entry in spec.methods)
    n_thresholds = {"category": 1, "unified": 2 if spec.thresholds.scope == "both" else 1}
    n_models = sum(n_thresholds[scope] for scope in set(spec.scopes))
    n_conditions = sum(len(conditions(spec, regime, sys.maxsize)) for regime in dict.fromkeys(spec.regimes))
    return StudySize(n_variants, n_variants * n_models * n_conditions * n_categories * spec.repeats)


def n_combinations(entry: MethodEntry) -> int:
    """How many combinations a method's grid has, equal values of a list counted once; 1 without a grid."""
    return math.prod(len({content_key([value]) for value in values}) for values in entry.grid.values())


def require_size(file: StudyFile, spec: StudySpec, n_categories: int) -> None:
    """Refuse a study that asks for more runs than it says it may.

    Raises:
        UserError: with the number, and where it comes from.
    """
    size = size_of(spec, n_categories)
    if size.n_runs > spec.max_runs:
        raise UserError(_complaint(file, spec, size))


def _complaint(file: StudyFile, spec: StudySpec, size: StudySize) -> Complaint:
    largest = max(range(len(spec.methods)), key=lambda index: n_combinations(spec.methods[index]))
    loc = ("methods", largest, "grid") if spec.methods[largest].grid else ("methods",)
    return file.complaint(
        loc,
        f"is part of {size.n_runs:,} runs of {size.n_variants:,} variants",
        f"a study may have max_runs: {spec.max_runs} runs, so that none of this size is begun by mistake",
        f"shorten the lists, search them with tune, or use max_runs: {size.n_runs} if all of them are meant",
    )
