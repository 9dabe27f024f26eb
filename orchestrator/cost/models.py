"""The models that a study leaves, and explains: how many there will be, and how large."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from adloc.answer.material import MOST_LEADS
from adloc.cost.work import work_of

if TYPE_CHECKING:
    from adloc.planning.plan import Plan, Run
    from adloc.study_file.spec import LoggedModels


@dataclass(frozen=True, slots=True)
class Models:
    """Some models of a plan.

    Attributes:
        n: how many.
        n_trained: training images of all of them.
        n_bytes: of the arrays of all of them, as far as a law tells.
        largest: bytes of the largest one's.
    """

    n: int
    n_trained: float
    n_bytes: float
    largest: float


def models_of(plan: Plan, wanted: LoggedModels) -> Models:
    """Of all runs, or of the leads: in each category one for each method, scope and kind of threshold.

    Which setting leads is not known yet: the mean of all is taken for it. See `adloc.answer.material.Material.leads`.
    """
    alike: dict[tuple[str, ...], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in plan.runs if wanted != "none" else ():
        lead = (run.variant.method.name, run.scope, run.threshold_scope)
        alike[lead if wanted == "best" else (run.run_id,)][run.category].append(run)
    leads = list(alike.values())[: MOST_LEADS if wanted == "best" else None]
    fits = {stage.key: stage for runs in leads for some in runs.values() for run in some for stage in run.fit}
    sizes = {key: work_of(stage, plan).kept_bytes or 0.0 for key, stage in fits.items()}
    n, n_trained, n_bytes, largest = 0, 0.0, 0.0, 0.0
    for some in (some for runs in leads for some in runs.values()):
        each = [sum(sizes[stage.key] for stage in run.fit) for run in some]
        n += 1
        n_trained += fmean(max((len(stage.source.part) for stage in run.fit), default=0) for run in some)
        n_bytes += fmean(each)
        largest = max(largest, *each)
    return Models(n, n_trained, n_bytes, largest)
